"""HTML views of results for notebooks and reports: one module per kind of result, found by `views.registry`."""
