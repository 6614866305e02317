"""The page at /docs: Swagger UI from files of this package, so that it opens without the internet."""
