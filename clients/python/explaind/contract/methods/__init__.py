"""One module per method: its parameters, its result, where it comes from, an example."""
