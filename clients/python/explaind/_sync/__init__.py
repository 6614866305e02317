"""The sync client, generated from `_async` by `make generate`; only `concurrency` is written by hand."""
