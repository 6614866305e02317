"""The worker process: claim, run and finish jobs; supervision, tracing."""
