"""Blobs in a directory: whole or not there, nobody else's to read, and nowhere but in the directory."""

import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from explaind.contract.errors import ResultLost, StoreUnavailable
from explaind_jobs.results import directory_blobs
from explaind_jobs.results.blob_store import BlobStore, name_of
from explaind_jobs.results.directory_blobs import DirectoryBlobs
from explaind_jobs.results.open_blobs import open_blobs
from explaind_jobs.settings import JobsSettings

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()
HOSTILE = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    f"{'0' * 61}/..",
    f"../{'0' * 61}",
    DIGEST.upper(),
    f"{DIGEST}\n",
    f"{DIGEST}\0",
    f"{DIGEST}.json.zst",
    DIGEST[:-1],
    f"{DIGEST}0",
    DIGEST.replace("0", "٠") + "٠",
    "٠" * 64,
    "%2e%2e%2f" * 7 + "a",
]


def files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if not path.is_dir())


def test_a_blob_is_written_read_and_removed(blobs: BlobStore, root: Path) -> None:
    blobs.write(DIGEST, DATA)
    assert blobs.read(DIGEST) == DATA
    assert files(root) == [Path(DIGEST[:2], DIGEST[2:4], f"{DIGEST}.json.zst")]
    blobs.remove(DIGEST)
    blobs.remove(DIGEST)
    assert files(root) == []
    with pytest.raises(ResultLost, match="no longer"):
        blobs.read(DIGEST)


def test_nothing_there_is_nothing_to_clear(blobs: BlobStore, root: Path) -> None:
    blobs.remove(DIGEST)
    assert blobs.tidy(0) == 0
    with pytest.raises(ResultLost):
        blobs.read(DIGEST)
    assert not root.exists()


def test_only_the_owner_may_look(blobs: BlobStore, root: Path) -> None:
    before = os.umask(0)
    try:
        blobs.write(DIGEST, DATA)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


@pytest.mark.parametrize("name", HOSTILE)
def test_only_digests_are_names(blobs: BlobStore, tmp_path: Path, name: str) -> None:
    before = files(tmp_path)
    for act in (lambda: blobs.read(name), lambda: blobs.remove(name), lambda: blobs.write(name, DATA)):
        with pytest.raises(ResultLost):
            act()
    assert files(tmp_path) == before
    with pytest.raises(ResultLost):
        name_of(name)


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("inside", [True, False])
def test_linked_folders_are_not_followed(
    blobs: BlobStore, root: Path, tmp_path: Path, depth: int, inside: bool
) -> None:
    target = (root if inside else tmp_path) / "elsewhere"
    victim = target.joinpath(*[DIGEST[2:4]][depth:], f"{DIGEST}.json.zst")
    victim.parent.mkdir(parents=True)
    victim.write_bytes(DATA)
    link = root.joinpath(*[DIGEST[:2], DIGEST[2:4]][: depth + 1])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    with pytest.raises(ResultLost):
        blobs.read(DIGEST)
    with pytest.raises(StoreUnavailable, match="ELOOP"):
        blobs.write(DIGEST, b"other")
    with pytest.raises(StoreUnavailable, match="ELOOP"):
        blobs.remove(DIGEST)
    assert victim.read_bytes() == DATA


def test_a_linked_blob_is_not_followed(blobs: BlobStore, root: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    place = root / name_of(DIGEST)
    place.parent.mkdir(parents=True)
    place.symlink_to(victim)
    with pytest.raises(ResultLost):
        blobs.read(DIGEST)
    blobs.write(DIGEST, DATA)
    assert (blobs.read(DIGEST), victim.read_bytes()) == (DATA, b"secret")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    real = tmp_path / "disk"
    real.mkdir()
    (tmp_path / "results").symlink_to(real)
    blobs = DirectoryBlobs(tmp_path / "results")
    blobs.write(DIGEST, DATA)
    assert blobs.read(DIGEST) == DATA


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_blob(
    blobs: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    blobs.write(DIGEST, DATA)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((directory_blobs.os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
        with pytest.raises(StoreUnavailable, match="ENOSPC"):
            blobs.write(DIGEST, b"half of the")
    assert blobs.read(DIGEST) == DATA
    assert len(files(root)) == 1


def test_file_and_folders_are_synced_before_the_write_is_done(
    blobs: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(directory_blobs.os, "fsync", watched)
    blobs.write(DIGEST, DATA)
    folder = root.resolve() / DIGEST[:2] / DIGEST[2:4]
    assert synced[-1] == str(folder)
    assert synced[-2].endswith(".tmp")
    assert {str(root.resolve().parent), str(root.resolve()), str(folder.parent)} <= set(synced)


def test_what_a_crash_left_is_ignored_and_cleared_after_a_while(blobs: BlobStore, root: Path, tmp_path: Path) -> None:
    blobs.write(DIGEST, DATA)
    folder = (root / name_of(DIGEST)).parent
    old, new = folder / f".{DIGEST}.aaaa.tmp", folder / f".{DIGEST}.bbbb.tmp"
    outside = tmp_path / "outside"
    outside.mkdir()
    foreign = outside / ".old.tmp"
    for path in (old, new, foreign):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    os.utime(foreign, (1, 1))
    (folder.parent / "zz").symlink_to(outside)
    assert blobs.read(DIGEST) == DATA
    assert blobs.tidy(86_400) == 1
    assert (old.exists(), new.exists(), foreign.exists()) == (False, True, True)
    assert blobs.read(DIGEST) == DATA


def test_readers_see_whole_blobs_while_they_are_written(blobs: BlobStore) -> None:
    datas = [bytes([i]) * 300_000 for i in range(8)]
    blobs.write(DIGEST, datas[0])
    writers = [threading.Thread(target=lambda d=d: [blobs.write(DIGEST, d) for _ in range(3)]) for d in datas]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        assert blobs.read(DIGEST) in datas


def test_a_directory_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreUnavailable) as caught:
        DirectoryBlobs(tmp_path / "results").write(DIGEST, DATA)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.retry_after


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "its disk is full"),
        (errno.EDQUOT, "its disk quota is used up"),
        (errno.EROFS, "its disk is read-only"),
        (errno.EACCES, "(EACCES)"),
    ],
)
@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_disk_that_refuses_keeps_what_was_there_and_no_half(
    blobs: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str, fails: str
) -> None:
    blobs.write(DIGEST, DATA)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        if fails == "write":
            # A write that gets only half of it onto the disk.
            patched.setattr(directory_blobs, "_write_new", lambda path, data: (path.write_bytes(data[:3]), refuse()))
        elif fails == "fsync":
            patched.setattr(directory_blobs.os, "fsync", refuse)
        else:
            patched.setattr(Path, "replace", refuse)
        with pytest.raises(StoreUnavailable) as caught:
            blobs.write(DIGEST, b"some others")
    assert said in caught.value.detail
    assert "EXPLAIND_RESULTS_URL" in (caught.value.hint or "")
    assert files(root) == [Path(DIGEST[:2], DIGEST[2:4], f"{DIGEST}.json.zst")]
    assert blobs.read(DIGEST) == DATA


def test_the_settings_name_the_directory(tmp_path: Path) -> None:
    open_blobs(JobsSettings(data_dir=tmp_path)).write(DIGEST, DATA)
    assert (tmp_path / "results" / name_of(DIGEST)).exists()
    url = f"{(tmp_path / 'a b').as_uri()}"
    assert "%20" in url
    open_blobs(JobsSettings(results_url=url)).write(DIGEST, DATA)
    assert (tmp_path / "a b" / name_of(DIGEST)).exists()
