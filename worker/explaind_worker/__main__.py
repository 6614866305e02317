"""`python -m explaind_worker` is `explaind worker`."""

from explaind_worker.cli import worker

if __name__ == "__main__":
    worker(prog_name="explaind worker")
