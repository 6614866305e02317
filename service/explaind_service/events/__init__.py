"""Job events for followers: one reader of the store per process, one SSE stream per client."""
