"""Results: encoded once, small ones kept beside the record, large ones in a store of blobs named by content."""
