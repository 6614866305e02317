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
        {"results_url": "http://there"},
        {"results_url": "file://there"},
        {"inline_result_bytes": -1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobsSettings(**wrong)  # type: ignore[arg-type]


def test_no_redis_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLAIND_REDIS_URL", raising=False)
    with pytest.raises(StoreUnavailable, match="No Redis is configured"):
        redis_from(JobsSettings())


def test_s3_without_its_library_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_jobs.settings.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match="explaind\\[s3\\]"):
        JobsSettings(results_url="s3://bucket")
    assert JobsSettings(results_url="file:///there").results_url == "file:///there"
