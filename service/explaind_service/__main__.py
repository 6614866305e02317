"""`python -m explaind_service` runs the HTTP API."""

from explaind_service.cli import api

if __name__ == "__main__":
    api(prog_name="python -m explaind_service")
