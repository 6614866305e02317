"""How results look in a terminal: one module per kind of result, found by `views.registry`."""
