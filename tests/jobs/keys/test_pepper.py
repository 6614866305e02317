"""The pepper: one for every process, made once, whole, and nobody else's to read."""

import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from explaind_jobs.keys.pepper import PepperError, load_pepper
from explaind_jobs.keys.webhook_secret import command, webhook_secret
from explaind_jobs.settings import JobsSettings

LOAD = """
import sys
from pathlib import Path
from explaind_jobs.keys.pepper import load_pepper
from explaind_jobs.settings import JobsSettings
settings = JobsSettings(data_dir=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(load_pepper(settings).hex())
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobsSettings:
    monkeypatch.delenv("EXPLAIND_PEPPER", raising=False)
    return JobsSettings(data_dir=tmp_path / "data")


def test_it_is_made_once_and_stays(settings: JobsSettings) -> None:
    first = load_pepper(settings)
    assert len(first) == 32
    assert load_pepper(settings) == first
    assert (settings.data_dir / "pepper").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.data_dir.iterdir()] == ["pepper"], "no draft is left behind"


def test_two_installations_differ(tmp_path: Path) -> None:
    assert load_pepper(JobsSettings(data_dir=tmp_path / "a")) != load_pepper(JobsSettings(data_dir=tmp_path / "b"))


def test_processes_that_start_at_once_agree(settings: JobsSettings) -> None:
    command = [sys.executable, "-c", LOAD, str(settings.data_dir)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda process: process.communicate("\n", timeout=60)[0].strip(), processes))
    assert set(seen) == {load_pepper(settings).hex()}


def test_threads_that_start_at_once_agree(settings: JobsSettings) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: load_pepper(settings), range(64)))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="files there have no such modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_read_is_refused(settings: JobsSettings, mode: int) -> None:
    load_pepper(settings)
    (settings.data_dir / "pepper").chmod(mode)
    with pytest.raises(PepperError, match="chmod 600"):
        load_pepper(settings)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_file_that_is_none_is_not_replaced(settings: JobsSettings, content: bytes) -> None:
    settings.data_dir.mkdir()
    path = settings.data_dir / "pepper"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(PepperError, match="is not 32 bytes long"):
        load_pepper(settings)
    assert path.read_bytes() == content


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PepperError, match="EXPLAIND_PEPPER"):
        load_pepper(JobsSettings(data_dir=tmp_path / "file"))


def test_the_environment_goes_before_the_file(settings: JobsSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pepper = os.urandom(32)
    monkeypatch.setenv("EXPLAIND_PEPPER", base64.b64encode(pepper).decode())
    given = JobsSettings(data_dir=settings.data_dir)
    assert load_pepper(given) == pepper
    assert not settings.data_dir.exists()
    assert base64.b64encode(pepper).decode() not in repr(given)


@pytest.mark.parametrize("encoded", ["short", "é", base64.b64encode(b"x" * 31).decode(), "!" * 44])
def test_an_environment_that_holds_none(settings: JobsSettings, encoded: str) -> None:
    wrong = settings.model_copy(update={"pepper": SecretStr(encoded)})
    with pytest.raises(PepperError, match="EXPLAIND_PEPPER is not 32 bytes") as caught:
        load_pepper(wrong)
    assert encoded not in str(caught.value)


def test_a_webhooks_secret_is_the_keys_own() -> None:
    secret = webhook_secret(bytes(32), "k1")
    # By hand: hmac-sha256 with 32 zero bytes as key, over "webhook:k1".
    assert secret == "whsec_" + base64.b64encode(_hmac(bytes(32), b"webhook:k1")).decode()
    assert (
        len({secret, webhook_secret(bytes(32), "k2"), webhook_secret(b"x" * 32, "k1"), webhook_secret(bytes(32), "")})
        == 4
    )


def test_the_command_prints_it(settings: JobsSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLAIND_DATA_DIR", str(settings.data_dir))
    pepper = load_pepper(settings)
    for words, key_id in (([], ""), (["k1"], "k1")):
        result = CliRunner().invoke(command, words)
        assert (result.exit_code, result.output) == (0, webhook_secret(pepper, key_id) + "\n")
    (settings.data_dir / "pepper").write_bytes(b"")
    broken = CliRunner().invoke(command, [])
    assert broken.exit_code == 1
    assert "is not 32 bytes long" in broken.output


def _hmac(key: bytes, message: bytes) -> bytes:
    import hashlib

    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key.ljust(64, b"\0")) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in key.ljust(64, b"\0")) + inner).digest()
