"""The client's logic without I/O: requests, retries, events and results, shared by `_async` and `_sync`."""
