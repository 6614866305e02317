"""One module per method: its parameters, result, origin and example."""
