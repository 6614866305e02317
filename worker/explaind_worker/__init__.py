"""The worker: claims jobs, keeps models in memory, runs methods."""
