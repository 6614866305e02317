"""Files that outlive jobs until they are deleted: uploaded datasets and artifacts written by jobs."""
