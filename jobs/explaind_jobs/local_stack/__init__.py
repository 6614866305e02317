"""`explaind up`: API, worker and Redis as child processes of one command."""
