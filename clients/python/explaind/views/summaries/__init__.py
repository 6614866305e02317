"""Results in one line of text, for their `repr`: which pieces say most of a result of each class."""
