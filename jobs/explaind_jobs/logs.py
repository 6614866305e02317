"""Logging of the long-running processes: a line an event on stderr, ours from INFO, others from WARNING."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def log_to_stderr() -> None:
    """Set up the root logger of this process. Called by commands, never at import."""
    logging.basicConfig(level=logging.WARNING, format=FORMAT, datefmt="%Y-%m-%d %H:%M:%S")
    for part in ("explaind", "explaind_jobs", "explaind_service", "explaind_worker"):
        logging.getLogger(part).setLevel(logging.INFO)
