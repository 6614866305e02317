"""The worker process: claims, runs and finishes jobs; supervision and tracing."""
