"""Encodes an upload in a separate process, which bounds its memory and time.

A thread would not do: parsing a long line holds the interpreter's lock, and a crafted Parquet file that crashes its
reader takes the whole process with it.
"""

import io
import os
import subprocess
import sys
from typing import BinaryIO

from pydantic import BaseModel, TypeAdapter

from explaind.contract.errors import InvalidDataset, UnsupportedMedia
from explaind_jobs.files.dataset_codec import EncodedDataset, TableForm, encode
from explaind_jobs.files.table_readers import refuse

# Encoding this much text takes a few hundredths of a second, less than starting a process.
SMALL_BYTES = 1 << 17
MEMORY_BYTES = 2 << 30
PROCESSOR_S = 120
WAIT_S = 600.0
# The minimum that Python needs: no secret of the service reaches the process that reads untrusted files.
ENVIRONMENT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "TEMP", "TMP")


class Report(BaseModel):
    """Final message of the encoding process: the dataset, or the error."""

    encoded: EncodedDataset | None = None
    code: str = ""
    detail: str = ""
    hint: str | None = None


_report = TypeAdapter(Report)


def encode_upload(source: BinaryIO, form: TableForm, out: BinaryIO) -> EncodedDataset:
    """`encode` for a file that may be large or hostile; both files are open and have a descriptor.

    Raises:
        InvalidDataset: it cannot be read, or exceeds a limit (memory and time included).
        UnsupportedMedia: it is Parquet, and pyarrow is not installed.
    """
    if form != "parquet" and source.seek(0, io.SEEK_END) <= SMALL_BYTES:
        return encode(source, form, out)
    source.seek(0)
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "explaind_jobs.files.encode_process", form],
            stdin=source,
            stdout=out,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        refuse(f"Reading it takes longer than {WAIT_S:g} seconds.")
    if ended.returncode != 0:
        refuse("Its reader broke off: it needs more memory or time than a dataset may, or is no such file.")
    report = _report.validate_json(ended.stderr.splitlines()[-1])
    if report.code == UnsupportedMedia.code:
        raise UnsupportedMedia(report.detail, hint=report.hint)
    if report.encoded is None:
        raise InvalidDataset(report.detail, hint=report.hint)
    return report.encoded


def main(form: TableForm, source: BinaryIO, out: BinaryIO) -> Report:
    """Encode the file and report the outcome."""
    try:
        return Report(encoded=encode(source, form, out))
    except (InvalidDataset, UnsupportedMedia) as error:
        return Report(code=error.code, detail=error.detail, hint=error.hint)


def _limit_this_process() -> None:
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not available on Windows

    limits = {resource.RLIMIT_DATA: MEMORY_BYTES, resource.RLIMIT_CPU: PROCESSOR_S, resource.RLIMIT_CORE: 0}
    for limit, most in limits.items():
        _, hard = resource.getrlimit(limit)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (soft, hard))


if __name__ == "__main__":
    _limit_this_process()
    form = TypeAdapter[TableForm](TableForm).validate_python(sys.argv[1])
    said = main(form, sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.flush()
    print(said.model_dump_json(), file=sys.stderr)  # noqa: T201 - read by the service
