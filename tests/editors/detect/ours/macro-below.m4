state Counter hits;

define(`a mistake', `in a file of ours')
