"""Uploads are encoded in a process of their own, and what becomes of it is the upload's fault."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from explaind.contract.errors import InvalidDataset, UnsupportedMedia
from explaind_jobs.files import dataset_codec, encode_process
from explaind_jobs.files.encode_process import encode_upload

LARGE = b'{"text": "some words", "n": 1}\n' * 5000


@pytest.fixture
def opened() -> Iterator[Any]:
    """Temporary files that begin with some bytes."""
    made: list[IO[bytes]] = []

    def open_file(data: bytes = b"") -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        file.write(data)
        made.append(file)
        return file

    yield open_file
    for file in made:
        file.close()


def test_a_large_file_is_encoded_elsewhere_as_it_would_be_here(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []
    run = subprocess.run

    def watched(*args: Any, **options: Any) -> Any:
        environments.append(options["env"])
        return run(*args, **options)

    here_out, out = opened(), opened()
    here = dataset_codec.encode(opened(LARGE), "jsonl", here_out)
    monkeypatch.setenv("EXPLAIND_PEPPER", "secret")
    monkeypatch.setattr(subprocess, "run", watched)
    monkeypatch.setattr(encode_process, "encode", lambda *_: pytest.fail("It was parsed in this process."))
    there = encode_upload(opened(LARGE), "jsonl", out)
    out.seek(0)
    here_out.seek(0)
    assert (there, out.read()) == (here, here_out.read())
    # Secrets of the service stay with it.
    assert environments[0].keys() <= {*encode_process.ENVIRONMENT, "PYTHONPATH"}


def test_a_small_one_is_not_worth_a_process(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("A process was started."))
    assert encode_upload(opened(b"a\n1\n"), "csv", opened()).rows == 1


def test_its_refusal_is_told_in_its_own_words(opened) -> None:
    with pytest.raises(InvalidDataset, match=r"^Line 5001: 'a' holds an object") as caught:
        encode_upload(opened(LARGE + b'{"a": {}}'), "jsonl", opened())
    assert caught.value.hint


def test_parquet_is_never_read_here(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_process, "encode", lambda *_: pytest.fail("It was read in this process."))
    with pytest.raises((InvalidDataset, UnsupportedMedia), match="Parquet"):
        encode_upload(opened(b"PAR1"), "parquet", opened())


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the process")
@pytest.mark.parametrize(
    ("script", "said"), [("kill -9 $$", "more memory or time"), ("exit 1", "more memory"), ("sleep 9", "takes longer")]
)
def test_a_process_that_breaks_off_is_the_files_fault(
    opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nexec 2>&1\n{script}\n")
    stand_in.chmod(0o700)
    monkeypatch.setattr(encode_process.sys, "executable", str(stand_in))
    monkeypatch.setattr(encode_process, "WAIT_S", 2.0 if "takes" not in said else 0.2)
    with pytest.raises(InvalidDataset, match=said):
        encode_upload(opened(LARGE), "jsonl", opened())
