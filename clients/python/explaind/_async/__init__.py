"""The async client: thin shells that do I/O for the flows of `protocol`. `_sync` is generated from it."""
