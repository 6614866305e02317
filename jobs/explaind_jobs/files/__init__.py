"""Files that outlive jobs: datasets that callers upload, artifacts that jobs leave. Kept until they are deleted."""
