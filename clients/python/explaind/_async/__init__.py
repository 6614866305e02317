"""The asynchronous client: thin input and output around the protocol, written by hand."""
