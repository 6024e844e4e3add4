"""One module per noun: parse, hand over to the store, answer."""
