"""Logging of the long-running processes on stderr: text for people, or one JSON object a line for machines.

Every line carries the log context (see `log_context`). None quotes a prompt, a body or a key: of an exception only the
type and the code locations are logged, since its message may quote a request.
"""

import logging
import sys
import threading
import traceback
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from explaind_jobs.observability.log_context import current_facts
from explaind_jobs.settings import LogFormat, LogLevel

OURS = ("explaind", "explaind_jobs", "explaind_service", "explaind_worker")
# Fields that a line may carry through `extra`; whatever else a library attaches is left out.
EXTRAS = ("state", "seconds", "http_method", "path", "status")

log = logging.getLogger(__name__)


def log_to_stderr(log_format: LogFormat = "auto", level: LogLevel = "INFO") -> None:
    """Set up logging for this process: ours from `level` on, others from WARNING. Called by commands, never at import.

    `auto` is text on a terminal and JSON anywhere else. Warnings and uncaught exceptions become lines too.
    """
    for part in OURS:
        logging.getLogger(part).setLevel(level)
    root = logging.getLogger()
    if root.handlers:  # an embedding program has set up logging already
        return
    root.addHandler(log_handler(sys.stderr, log_format))
    logging.captureWarnings(True)
    sys.excepthook = _process_died
    threading.excepthook = _thread_died


def log_handler(stream: TextIO, log_format: LogFormat) -> logging.Handler:
    """A handler that writes lines of that format to a stream."""
    as_text = stream.isatty() if log_format == "auto" else log_format == "text"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if as_text else JsonLines())
    return handler


class TextLines(logging.Formatter):
    """Formatter for people: local time, level, context, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(about)s%(message)s", datefmt="%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The formatted line."""
        facts = current_facts()
        about = " ".join(str(facts[name]) for name in ("job", "request_id") if name in facts)
        own = copy(record)
        own.about = f"[{about}] " if about else ""
        own.exc_text = None  # contains the message if another handler has formatted the record before
        return super().format(own)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The exception without its message."""
        return described(ei[1])


class JsonLines(JsonFormatter):
    """Formatter for machines: one JSON object per line."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fills in the fields of the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log_data.update(time=time, level=record.levelname, logger=record.name, message=record.getMessage())
        log_data.update(current_facts())
        log_data.update({name: getattr(record, name) for name in EXTRAS if hasattr(record, name)})
        if "exc_info" in message_dict:
            log_data["error"] = message_dict["exc_info"]

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The exception without its message."""
        return described(ei[1])


def described(error: BaseException | None) -> str:
    """Description of an unexpected error for the log: its type and where it was raised.

    Without its message, which may quote the prompt.
    """
    if error is None:
        return "no exception"
    frames = traceback.extract_tb(error.__traceback__)
    places = "".join(f"\n  {Path(f.filename).name}:{f.lineno} in {f.name}" for f in frames)
    cause = error.__cause__ or error.__context__
    return f"{type(error).__name__}{places}" + (f"\nafter {described(cause)}" if cause is not None else "")


def _process_died(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("the process ends: %s", described(error))


def _thread_died(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        log.error("thread %s ended: %s", args.thread.name if args.thread else "?", described(args.exc_value))
