"""Settings come from the environment, and wrong ones are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.redis_scripts.connection import async_redis_from, redis_from
from explaind_jobs.settings import JobsSettings, settings_mistake
from explaind_jobs.store.permits import make_celery


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


def test_a_password_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path, says in ((tmp_path / "none", "No such file"), (empty, "is empty"), (tmp_path, "directory")):
        with pytest.raises(ValidationError) as caught:
            JobsSettings(redis_url="redis://there", redis_password_file=path)
        assert "EXPLAIND_REDIS_PASSWORD_FILE" in settings_mistake(caught.value)
        assert says in settings_mistake(caught.value)


@pytest.mark.parametrize("url", ["redis://:secret@there", "unix:///run/redis.sock?password=secret"])
def test_two_passwords_are_refused_and_not_said(tmp_path: Path, url: str) -> None:
    (tmp_path / "password").write_text("another")
    with pytest.raises(ValidationError) as caught:
        JobsSettings(redis_url=url, redis_password_file=tmp_path / "password")
    assert "holds a password already" in settings_mistake(caught.value)
    assert "secret" not in settings_mistake(caught.value)


def test_a_password_file_that_went_away_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret")
    settings = JobsSettings(redis_url="redis://there", redis_password_file=path)
    path.unlink()
    for connect in (redis_from, async_redis_from, make_celery):
        with pytest.raises(StoreUnavailable, match="password of Redis is missing"):
            connect(settings)


def test_s3_without_its_library_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_jobs.settings.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match="explaind\\[s3\\]"):
        JobsSettings(results_url="s3://bucket")
    assert JobsSettings(results_url="file:///there").results_url == "file:///there"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("12GiB", 12 << 30), ("1.5 GB", 1_500_000_000), ("0.9", 0.9), ("1", 1.0), ("17179869184", 16 << 30), ("", None)],
)
def test_memory_is_a_size_or_a_fraction(monkeypatch: pytest.MonkeyPatch, given: str, expected: object) -> None:
    monkeypatch.setenv("EXPLAIND_MEMORY_BYTES", given)
    found = JobsSettings().memory_bytes
    assert found == expected
    assert type(found) is type(expected)
