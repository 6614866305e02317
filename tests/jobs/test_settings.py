"""Settings come from the environment, and wrong ones are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.connection import redis_from
from explaind_jobs.settings import JobsSettings


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLAIND_REDIS_URL", "redis://there/1")
    monkeypatch.setenv("EXPLAIND_DATA_DIR", "somewhere")
    monkeypatch.setenv("EXPLAIND_MODELS_FILE", "")
    settings = JobsSettings()
    assert (settings.redis_url, settings.data_dir, settings.models_file) == (
        "redis://there/1",
        Path("somewhere"),
        None,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"redis_url": "http://there"},
        {"lease_s": 0},
        {"lease_s": 10, "heartbeat_s": 6},
        {"max_queued": 0},
        {"memory_bytes": "12"},
        {"memory_bytes": "0"},
        {"memory_bytes": "-1GiB"},
        {"memory_bytes": "much"},
        {"memory_bytes": "nan"},
        {"memory_bytes": "inf"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobsSettings(**wrong)  # type: ignore[arg-type]


def test_no_redis_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLAIND_REDIS_URL", raising=False)
    with pytest.raises(StoreUnavailable, match="No Redis is configured"):
        redis_from(JobsSettings())


@pytest.mark.parametrize(
    ("given", "expected"),
    [("12GiB", 12 << 30), ("1.5 GB", 1_500_000_000), ("0.9", 0.9), ("1", 1.0), ("17179869184", 16 << 30), ("", None)],
)
def test_memory_is_a_size_or_a_fraction(monkeypatch: pytest.MonkeyPatch, given: str, expected: object) -> None:
    monkeypatch.setenv("EXPLAIND_MEMORY_BYTES", given)
    found = JobsSettings().memory_bytes
    assert found == expected
    assert type(found) is type(expected)
