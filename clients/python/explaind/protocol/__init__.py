"""The client's logic without input or output: requests, retries, events, parsing of responses."""
