"""From text to trees: the grammar, the item splitter, the parser that never fails, and the formatter."""
