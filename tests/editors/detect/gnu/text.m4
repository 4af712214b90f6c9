A text without any macro.
policy of this house: no shoes.
mesh with the words of ours
state of affairs, in detail
