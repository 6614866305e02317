"""Results as HTML, for notebooks and reports: one module per kind of result."""
