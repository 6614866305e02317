"""`explaind keys`: what it writes where, and what it refuses."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from explaind_jobs.keys import scripts
from explaind_jobs.keys.cli import keys
from explaind_jobs.keys.key_format import KEY, mac_of
from explaind_jobs.keys.pepper import FILE_NAME, load_pepper
from explaind_jobs.keys.webhook_secret import webhook_secret
from explaind_jobs.redis_scripts.connection import URL_FILE
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Allowance

FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(settings: JobsSettings, monkeypatch: pytest.MonkeyPatch):
    """Runs the command on the test's Redis and data directory; returns click's result."""
    monkeypatch.setenv("EXPLAIND_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("EXPLAIND_REDIS_URL", str(settings.redis_url))
    monkeypatch.setenv("COLUMNS", "300")

    def invoke(*args: str) -> Result:
        result = CliRunner().invoke(keys, list(args))
        assert "Traceback" not in result.output
        return result

    return invoke


def test_the_key_alone_is_on_stdout(run, store: JobStore, settings: JobsSettings) -> None:
    result = run("create", "--name", "laptop")
    assert result.exit_code == 0, result.output
    key = result.stdout.strip()
    assert KEY.fullmatch(key)
    assert key not in result.stderr
    for said in ("EXPLAIND_API_KEY", "only time", "Authorization: Bearer", "read, write", "until it is revoked"):
        assert said in result.stderr
    (record,) = store.run(scripts.look_at_all()).found
    assert record.mac == mac_of(load_pepper(settings), key)


def test_the_first_key_changes_the_service_and_says_so(run) -> None:
    assert "asks every caller" in run("create", "--name", "first").stderr
    assert "asks every caller" not in run("create", "--name", "second").stderr


def test_a_new_pepper_is_announced(run, settings: JobsSettings) -> None:
    file = settings.data_dir / FILE_NAME
    assert str(file) in run("create", "--name", "first").stderr
    assert file.stat().st_mode & 0o077 == 0
    assert str(file) not in run("create", "--name", "second").stderr


def test_everything_may_be_said(run) -> None:
    wanted = "--scopes write,metrics --expires 90d --rate 10/s --burst 50 --max-running 2 --max-queued 30 --json"
    result = run("create", "--name", " CI  runner ", *wanted.split())
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert KEY.fullmatch(facts.pop("key"))
    created, expires = facts.pop("created_at"), facts.pop("expires_at")
    assert created < expires
    assert facts.pop("id")
    assert facts == {
        "name": "CI  runner",
        "state": "active",
        "scopes": ["metrics", "write"],
        "revoked_at": None,
        "requests_per_minute": 600,
        "burst": 50,
        "max_running": 2,
        "max_queued": 30,
    }


@pytest.mark.parametrize(
    ("rate", "allowance"),
    [("600/min", (600, 100)), ("5/min", (5, 5)), ("30", (30, 10)), ("2/s", (120, 20)), ("60/m", (60, 10))],
)
def test_rates_and_the_bursts_they_bring(run, store: JobStore, rate: str, allowance: tuple[int, int]) -> None:
    assert run("create", "--name", "x", "--rate", rate).exit_code == 0
    assert store.run(scripts.look_at_all()).found[0].allowance == Allowance(*allowance)


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [("30m", 1800), ("12h", 43_200), ("90d", 7_776_000), ("4w", 2_419_200)]
)
def test_lifetimes(run, store: JobStore, lifetime: str, seconds: int) -> None:
    assert run("create", "--name", "x", "--expires", lifetime).exit_code == 0
    key = store.run(scripts.look_at_all()).found[0]
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).total_seconds() == seconds


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--scopes reed", "read, write, metrics, admin"),
        ("--scopes ,", "read, write, metrics, admin"),
        ("--expires 90", "90d"),
        ("--expires 0d", "90d"),
        ("--expires 999999d", "90d"),
        ("--expires ٣d", "90d"),
        ("--rate fast", "600/min"),
        ("--rate 0/min", "600/min"),
        ("--rate 9999999/s", "600/min"),
        ("--burst 5", "--rate"),
        ("--rate 5/min --burst 0", "--burst"),
        ("--max-running 0", "--max-running"),
        ("--max-queued -1", "--max-queued"),
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_no_key(run, store: JobStore, args: str, said: str) -> None:
    result = run("create", "--name", "x", *args.split())
    assert result.exit_code == 2
    assert said in result.output
    assert not store.run(scripts.look_up("")).asked_for


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x1b[31mb", "a\nb"])
def test_names_that_are_none(run, name: str) -> None:
    result = run("create", "--name", name)
    assert result.exit_code == 2
    assert "\x1b" not in result.output


def test_list_shows_all_but_codes(run, store: JobStore) -> None:
    issued = [run("create", "--name", name, "--json").stdout for name in ("one", "two")]
    ids = [json.loads(text)["id"] for text in issued]
    run("revoke", ids[0])
    table = run("list").stdout
    assert all(key_id in table for key_id in ids)
    assert "revoked" in table
    data = json.loads(run("list", "--json").stdout)["data"]
    assert [(key["id"], key["name"], key["state"]) for key in data] == [
        (ids[0], "one", "revoked"),
        (ids[1], "two", "active"),
    ]
    for key in store.run(scripts.look_at_all()).found:
        assert key.mac not in table + json.dumps(data)


def test_revoke_by_id_or_by_the_key_itself(run, store: JobStore) -> None:
    first, second = (run("create", "--name", "x").stdout.strip() for _ in range(2))
    one, other = first.split("_")[1], second.split("_")[1]
    assert run("revoke", one).stdout == f"{one} is revoked.\n"
    assert run("revoke", one).stdout == f"{one} was revoked already.\n"
    result = run("revoke", second)
    assert (result.exit_code, second in result.output) == (0, False)
    assert {key.state for key in store.run(scripts.look_at_all()).found} == {"revoked"}
    assert other in result.output


def test_a_slip_does_not_show_the_key(run) -> None:
    slip = run("create", "--name", "x").stdout.strip()[:-1]
    result = run("revoke", slip)
    assert result.exit_code == 2
    assert slip not in result.output
    assert run("revoke", "a" * 12).exit_code == 1


def test_webhook_secret(run, settings: JobsSettings) -> None:
    key_id = json.loads(run("create", "--name", "x", "--json").stdout)["id"]
    secret = run("webhook-secret", key_id).stdout.strip()
    assert secret == webhook_secret(load_pepper(settings), key_id)
    assert run("webhook-secret", "a" * 12).exit_code == 1
    (settings.data_dir / FILE_NAME).unlink()
    result = run("webhook-secret", key_id)
    assert result.exit_code == 1, "a secret of another pepper would sign nothing"
    assert "another pepper" in result.output


def test_another_pepper(run, settings: JobsSettings) -> None:
    run("create", "--name", "x")
    (settings.data_dir / FILE_NAME).unlink()
    result = run("create", "--name", "y")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "EXPLAIND_DATA_DIR" in result.output
    assert run("create", "--name", "y", "--replace-pepper").exit_code == 0


def test_the_running_stack_is_found_by_its_data_directory(run, settings, store: JobStore, monkeypatch) -> None:
    monkeypatch.delenv("EXPLAIND_REDIS_URL")
    settings.data_dir.mkdir()
    (settings.data_dir / URL_FILE).write_text(str(settings.redis_url))
    assert run("create", "--name", "x").exit_code == 0
    assert store.run(scripts.look_up("")).asked_for


@pytest.mark.parametrize("left", ["", "unix:///nowhere/redis.sock?db=0"])
def test_where_nothing_runs(run, settings, monkeypatch, left: str) -> None:
    monkeypatch.delenv("EXPLAIND_REDIS_URL")
    settings.data_dir.mkdir()
    if left:  # of a stack that was killed
        (settings.data_dir / URL_FILE).write_text(left)
    result = run("list")
    assert result.exit_code == 1
    for said in (str(settings.data_dir), "explaind up", "EXPLAIND_REDIS_URL"):
        assert said in result.output


def test_a_deployments_redis_that_does_not_answer(run, tmp_path: Path) -> None:
    result = run("list", "--redis-url", f"unix://{tmp_path}/none.sock")
    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert run("list", "--redis-url", "http://x").exit_code == 1


DOCS = Path(__file__).parents[3] / "docs" / "operate" / "api-keys.md"
LINES = re.findall(
    r"explaind keys ((?:create|list)[^#`$)\n]*)", "".join(FENCE.findall(DOCS.read_text(encoding="utf-8")))
)


@pytest.mark.parametrize("line", LINES)
def test_the_commands_of_the_docs(run, line: str) -> None:
    assert run(*shlex.split(line)).exit_code == 0


def test_the_docs_show_commands() -> None:
    assert len(LINES) >= 4


def test_is_listed_with_the_commands_of_the_parts() -> None:
    document = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, name = document["project"]["entry-points"]["explaind.commands"]["keys"].partition(":")
    assert (module, name) == (keys.callback.__module__, "keys")  # type: ignore[union-attr]
