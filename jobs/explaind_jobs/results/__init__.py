"""Results: encoded once; small ones in the job's record, large ones in a content-addressed blob store."""
