"""What happens to a job, told to those who follow it: one reader of the store per process, a stream per client."""
