"""Where the API may listen."""

import pytest
import redis

from explaind_jobs.keys.create import issue_key
from explaind_jobs.keys.records import Scope
from explaind_jobs.local_stack.exposure import check_exposure, is_loopback
from explaind_jobs.local_stack.redis_server import StackError
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore

OPEN = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LocalHost"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [OPEN, "::", "192.168.0.2", "example.org", "localhost.example.org", "", "127.0.0.1.x"])
def test_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


def test_beyond_loopback_needs_a_key_or_a_wish(redis_url: str, valkey: redis.Redis) -> None:
    settings = JobsSettings(redis_url=redis_url)
    assert check_exposure(settings, "127.0.0.1", allow_anonymous=False) is None
    with pytest.raises(StackError, match="explaind keys create"):
        check_exposure(settings, OPEN, allow_anonymous=False)
    assert "asks nobody for a key" in str(check_exposure(settings, OPEN, allow_anonymous=True))
    issue_key(JobStore(valkey, settings), bytes(32), name="x", scopes=frozenset({Scope.READ}))
    for allowed in (True, False):
        assert check_exposure(settings, OPEN, allow_anonymous=allowed) is None


def test_when_nobody_can_tell_it_is_closed_and_says_so(tmp_path) -> None:
    settings = JobsSettings(redis_url=f"unix://{tmp_path}/none.sock")
    assert check_exposure(settings, "localhost", allow_anonymous=False) is None
    assert "refuses whoever shows none" in str(check_exposure(settings, OPEN, allow_anonymous=False))
