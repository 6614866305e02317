"""The end of the append-only file after a crash: cut where the last whole command ends, and nothing is thrown away."""

import contextlib
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from explaind_jobs.local_stack.append_only_file import FOLDER, MANIFEST, Damage, find_damage, mend
from explaind_jobs.local_stack.embedded_redis import redis_child, way_out
from explaind_jobs.local_stack.redis_server import ServerStartError, find_server, start_server


def command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)


WHOLE = command("SELECT", "0") + command("SET", "k1", "v1") + b"#TS:1700000000\r\n" + command("SET", "k2", "é\r\n*1")
OPEN = command("MULTI") + command("SET", "k3", "v3")
GARBAGE = {
    "zeros": b"\0" * 4096,
    "text without a line": b"garbage",
    "lines": b"garbage\r\nand more\r\n",
    "noise": bytes(range(256)) * 8,
    "a count that is none": b"*x\r\n$3\r\nSET\r\n",
    "no arguments": b"*0\r\n",
    "a huge count": b"*9999999999\r\n",
    "a length that is none": b"*2\r\n$x\r\n",
    "a huge length": b"*1\r\n$9999999999\r\nSET\r\n",
    "cut short, then zeros": command("SET", "k4", "v4")[:-6] + b"\0" * 600,
    "a value of the wrong length": b"*2\r\n$3\r\nGETx\r\n$1\r\nk\r\n",
    "an argument without its sign": b"*2\r\n$3\r\nGET\r\nk\r\n",
}


def folder_of(tmp_path: Path, *contents: bytes) -> Path:
    """Server data with these incremental files."""
    aof = tmp_path / FOLDER
    aof.mkdir()
    names = [f"appendonly.aof.{number}.incr.aof" for number in range(1, len(contents) + 1)]
    for name, content in zip(names, contents, strict=True):
        (aof / name).write_bytes(content)
    lines = [f"file {name} seq {number} type i\n" for number, name in enumerate(names, 1)]
    (aof / MANIFEST).write_text("".join(["file appendonly.aof.1.base.rdb seq 1 type b\n", *lines]), encoding="ascii")
    return tmp_path


@pytest.mark.parametrize("content", [b"", WHOLE, WHOLE + OPEN + command("EXEC"), WHOLE + command("EVAL", "x" * 9000)])
def test_what_is_whole_is_left_alone(tmp_path: Path, content: bytes) -> None:
    folder = folder_of(tmp_path, content)
    assert find_damage(folder) is None
    assert mend(folder) is None
    assert (folder / FOLDER / "appendonly.aof.1.incr.aof").read_bytes() == content


def test_without_a_file_there_is_no_damage(tmp_path: Path) -> None:
    assert mend(tmp_path) is None
    assert mend(folder_of(tmp_path)) is None


@pytest.mark.parametrize("opened", [b"", OPEN], ids=["between commands", "in a transaction"])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_damaged_end_is_cut_off_and_kept(tmp_path: Path, garbage: bytes, opened: bytes) -> None:
    folder = folder_of(tmp_path, command("SET", "k0", "v0"), WHOLE + opened + garbage)
    file = folder / FOLDER / "appendonly.aof.2.incr.aof"
    said = mend(folder)
    assert said is not None
    assert file.read_bytes() == WHOLE
    (kept,) = folder.glob("*.cut-*")
    assert kept.read_bytes() == opened + garbage
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for told in (str(file), str(kept), f"{len(opened + garbage)} bytes", f"byte {len(WHOLE)} "):
        assert told in said
    assert mend(folder) is None


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_damage_with_jobs_behind_it_is_for_a_person(tmp_path: Path, garbage: bytes) -> None:
    content = WHOLE + garbage + b"\r\n" + command("SET", "k5", "v5")
    folder = folder_of(tmp_path, content)
    file = folder / FOLDER / "appendonly.aof.1.incr.aof"
    assert find_damage(folder) == Damage(file, len(WHOLE), len(content), is_tail=False)
    with pytest.raises(ServerStartError, match=f"beyond byte {len(WHOLE)} of {len(content)}") as caught:
        mend(folder)
    assert file.read_bytes() == content
    do_by_hand(str(caught.value))
    assert file.read_bytes() == WHOLE
    assert file.with_name(f"{file.name}.damaged").read_bytes() == content


def do_by_hand(said: str) -> None:
    """What the message tells to do, as a person would: every program that it names is there."""
    line = next(line for line in said.splitlines() if line.startswith("  "))
    subprocess.run(["/bin/sh", "-ec", line], check=True, env={"PATH": os.environ["PATH"]})


def test_damage_before_the_last_file_is_for_a_person(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, WHOLE + b"\0\0", WHOLE)
    damage = find_damage(folder)
    assert damage is not None
    assert not damage.is_tail
    with pytest.raises(ServerStartError, match="cp "):
        mend(folder)


def test_without_room_to_keep_it_nothing_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, WHOLE + b"\0\0")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("explaind_jobs.local_stack.append_only_file.os.fsync", full)
    with pytest.raises(ServerStartError, match="No space left on device"):
        mend(folder)
    assert (folder / FOLDER / "appendonly.aof.1.incr.aof").read_bytes() == WHOLE + b"\0\0"
    assert list(folder.glob("*.cut-*")) == []


@contextlib.contextmanager
def served(folder: Path) -> Iterator[redis.Redis]:
    """A server with its data there, for a while."""
    binary = find_server()
    assert binary is not None
    server = start_server(binary, folder, folder / "s")
    try:
        with redis.Redis(unix_socket_path=str(folder / "s")) as client:
            yield client
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("name", ["zeros", "text without a line"])
def test_the_embedded_server_starts_and_knows_all_that_was_whole(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with served(folder) as client:
        for number in range(5):
            client.set(f"k{number}", number)
    (file,) = (folder / FOLDER).glob("*.incr.aof")
    with file.open("ab") as opened:
        opened.write(GARBAGE[name])
    binary, told = find_server(), list[str]()
    assert binary is not None
    log = tmp_path / "redis.log"
    with contextlib.ExitStack() as cleanup, log.open("ab", buffering=0) as output:
        child, url = redis_child(binary, folder, cleanup, log, output, tell=told.append)
        child.start()
        try:
            with redis.Redis.from_url(url) as client:
                assert [client.get(f"k{number}") for number in range(5)] == [b"%d" % number for number in range(5)]
                assert client.set("k5", 5)
        finally:
            child.stop(20)
    (said,) = told
    assert f"the {len(GARBAGE[name])} bytes after byte" in said
    assert said in log.read_text(encoding="utf-8")
    (kept,) = folder.glob("*.cut-*")
    assert kept.read_bytes() == GARBAGE[name]
    with served(folder) as client:
        assert client.get("k5") == b"5"


def test_the_way_out_of_what_cannot_be_mended_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    line = way_out(folder).splitlines()[-1].strip()
    assert shlex.split(line) == ["mv", str(folder), f"{folder}.damaged"]
