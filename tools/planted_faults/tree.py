"""A private copy of the repository in which faults are planted and tests run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.planted_faults.faults import ROOT, Fault, FaultError, checked

PACKAGES = ("explaind", "explaind_jobs", "explaind_service", "explaind_worker")
TEST_TIMEOUT_S = 120  # of a single test; catches faults that make a test hang
FAILED = re.compile(r"^(FAILED|ERROR) (\S+?\.py)(::.+?)?(?: - |$)", re.MULTILINE)


@dataclass(frozen=True)
class TestRun:
    """Result of a pytest run: exit status (None: killed by the time limit), failed test, and output."""

    __test__ = False

    status: int | None
    failed: str | None
    collected: bool
    seconds: float
    output: str

    @property
    def green(self) -> bool:
        """Whether all tests passed."""
        return self.status == 0


class Tree:
    """A copy of all files of the checkout that git tracks or would track."""

    def __init__(self, folder: Path) -> None:
        """Copies the checkout into `folder`.

        Raises:
            FaultError: Python would import another copy of the product.
        """
        self.folder = folder
        for name in _files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        # Some tests ask git which files are ignored.
        repository = ["git", "init", "-q"]
        subprocess.run(repository, cwd=folder, check=True)
        sources = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        parts = sources["tool"]["hatch"]["build"]["dev-mode-dirs"]
        self._environment = {
            **os.environ,
            # Before site-packages, where the checkout itself is installed.
            "PYTHONPATH": os.pathsep.join(str(folder / part) for part in parts),
            "OMP_NUM_THREADS": "1",
        }
        self._check_imports()

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """Context in which the tree contains the fault. Raises FaultError if it cannot be planted."""
        path = self.folder / fault.file
        original, changed = path.read_text(encoding="utf-8"), checked(fault, self.folder)
        try:
            _write(path, changed)
            yield
        finally:
            _write(path, original)

    def test(self, tests: Sequence[str], limit_s: float) -> TestRun:
        """Runs these tests until the first fails, for at most `limit_s` seconds."""
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT_S}"]
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # includes servers started by tests
            output, status = process.communicate()[0], None
        found = FAILED.search(output)
        name = f"{found[2]}{found[3] or ''}" if found else None
        collected = found is None or found[3] is not None
        return TestRun(status, name, collected, round(time.monotonic() - started, 1), output)

    def _check_imports(self) -> None:
        code = f"import json; print(json.dumps([__import__(name).__file__ for name in {PACKAGES!r}]))"
        command = [sys.executable, "-c", code]
        answer = subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True, check=True)
        for file in json.loads(answer.stdout):
            if not Path(file).resolve().is_relative_to(self.folder.resolve()):
                raise FaultError(f"{file} would be tested instead of its copy in {self.folder}.")


def _files() -> list[str]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Bytecode is matched by mtime and size; two versions within a second may have the same.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
