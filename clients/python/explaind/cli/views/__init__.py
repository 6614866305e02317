"""Terminal views of results: one module per kind of result, found by `views.registry`."""
