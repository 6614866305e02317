"""The HTTP service: queues a job for each validated request and returns its result."""
