"""Models: download, loading, structure, self-check, and the pool that keeps them in memory."""
