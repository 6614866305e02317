"""What a log line says, what it is about, and what it never says."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from explaind_jobs.observability import log_context as contexts
from explaind_jobs.observability.log_context import add_to_context, current_facts, hand_down_context, log_context
from explaind_jobs.observability.logs import described, log_handler
from explaind_jobs.settings import JobsSettings, LogFormat

LIBRARY = logging.getLogger("a.library")


@pytest.fixture
def lines() -> Iterator[Callable[[LogFormat], io.StringIO]]:
    """Lets every line of DEBUG and above go to a stream, in a format."""
    root, handlers, level = logging.getLogger(), [], logging.getLogger().level
    root.setLevel(logging.DEBUG)

    def into(log_format: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        handlers.append(log_handler(stream, log_format))
        root.addHandler(handlers[-1])
        return stream

    yield into
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads take the context over, in this test."""
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    hand_down_context()


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line(lines) -> None:
    stream = lines("json")
    with log_context(job="job_1", attempt=2, method="explain/shap", model="demo", request_id=None):
        LIBRARY.warning("%d forwards", 3, extra={"state": "running", "body": "a prompt"})
    (line,) = objects(stream)
    when = datetime.fromisoformat(line.pop("time"))
    assert when.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert line == {
        "level": "WARNING",
        "logger": "a.library",
        "message": "3 forwards",
        "job": "job_1",
        "attempt": 2,
        "method": "explain/shap",
        "model": "demo",
        "state": "running",
    }


def test_a_text_line_names_job_and_request(lines) -> None:
    stream = lines("text")
    LIBRARY.info("before")
    with log_context(request_id="req_1"), log_context(job="job_1"):
        LIBRARY.info("within")
    before, within = stream.getvalue().splitlines()
    assert before.endswith("INFO    before")
    assert within.endswith("INFO    [job_1 req_1] within")


@pytest.mark.parametrize(("terminal", "is_json"), [(True, False), (False, True)])
def test_auto_is_text_on_a_terminal_only(terminal: bool, is_json: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    log_handler(stream, "auto").emit(LIBRARY.makeRecord("x", logging.INFO, "", 0, "hello", (), None))
    assert stream.getvalue().startswith("{") is is_json


def test_a_context_ends() -> None:
    with log_context(job="job_1"):
        with log_context(request_id="req_1"):
            add_to_context(state="running")
            assert current_facts() == {"job": "job_1", "request_id": "req_1", "state": "running"}
        assert current_facts() == {"job": "job_1"}
    add_to_context(job="nobody's")
    assert current_facts() == {}


def test_what_a_process_is_says_every_line(lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "_process", {})
    contexts.process_facts(worker="w-0")
    stream = lines("json")
    LIBRARY.info("hello")
    assert objects(stream)[0]["worker"] == "w-0"


@pytest.mark.usefixtures("handed_down")
def test_a_thread_tells_the_job_that_started_it(lines) -> None:
    stream = lines("json")

    def work(word: str) -> None:
        LIBRARY.info(word)

    with log_context(job="job_1"):
        thread = threading.Thread(target=work, args=("thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work, "pool").result()
    assert [(line["message"], line["job"]) for line in objects(stream)] == [("thread", "job_1"), ("pool", "job_1")]


@pytest.mark.usefixtures("handed_down")
def test_a_thread_that_outlives_its_job_is_nobodys(lines) -> None:
    stream = lines("json")
    with ThreadPoolExecutor(1) as pool:
        with log_context(job="job_1"):
            pool.submit(LIBRARY.info, "within").result()
        pool.submit(LIBRARY.info, "after").result()
        with log_context(job="job_2"):
            pool.submit(LIBRARY.info, "another's").result()
    assert [line.get("job") for line in objects(stream)] == ["job_1", None, None]


@pytest.mark.usefixtures("handed_down")
def test_a_thread_that_dies_does_so_in_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    deaths: list[tuple[object, object]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: deaths.append((args.exc_type, current_facts()["job"])))

    def work() -> None:
        raise KeyError

    with log_context(job="job_1"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert deaths == [(KeyError, "job_1")]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_exceptions_words_are_not_told(lines, log_format: LogFormat) -> None:
    stream = lines(log_format)

    def fail() -> None:
        try:
            raise KeyError("first secret")
        except KeyError as error:
            raise ValueError("second secret") from error

    try:
        fail()
    except ValueError:
        LIBRARY.exception("it failed")
    written = stream.getvalue()
    assert "secret" not in written
    for told in ("it failed", "ValueError", "after KeyError", "test_logs.py", "in fail"):
        assert told in written


def test_nothing_happened_is_described_too() -> None:
    assert described(None) == "no exception"


PROCESS = """
import threading, sys, warnings
from explaind_jobs.observability.log_context import hand_down_context, log_context
from explaind_jobs.observability.logs import log_to_stderr
log_to_stderr("auto", "DEBUG")
hand_down_context()
def die():
    raise RuntimeError("a secret")
with log_context(job="job_1"):
    thread = threading.Thread(target=die, name="t")
    thread.start()
    thread.join()
warnings.warn("old", UserWarning)
import logging
logging.getLogger("explaind_worker.x").debug("ours")
logging.getLogger("a.library").info("not told")
raise ValueError("a secret")
"""


def test_every_line_of_a_process_is_json_and_keeps_the_secret() -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "secret" not in done.stderr
    thread, warning, ours, end = [json.loads(line) for line in done.stderr.splitlines()]
    assert thread["job"] == "job_1"
    assert thread["message"].startswith("thread t ended: RuntimeError")
    assert (warning["logger"], ours["message"]) == ("py.warnings", "ours")
    assert end["message"].startswith("the process ends: ValueError")


def test_the_settings_name_the_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLAIND_LOG_FORMAT", "xml")
    with pytest.raises(ValueError, match="log_format"):
        JobsSettings()
