"""Formatter of generated Python modules, with the project's ruff settings."""

import subprocess
import sys

from tools import ROOT


def formatted(source: str, path: str) -> str:
    """The source with sorted imports, none of them unused, and in ruff's format.

    Args:
        source: a Python module.
        path: its path relative to the repository root, which selects the settings.

    Raises:
        ValueError: it is not valid Python.
    """
    sorted_imports = _ruff(["check", "--select", "I,F401", "--fix", "--quiet"], source, path)
    return _ruff(["format", "--quiet"], sorted_imports, path)


def _ruff(command: list[str], source: str, path: str) -> str:
    line = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", path, "-"]
    run = subprocess.run(line, cwd=ROOT, input=source, capture_output=True, text=True, encoding="utf-8", check=False)
    if run.returncode:
        raise ValueError(f"ruff {command[0]} fails on {path}: {run.stderr.strip()}")
    return run.stdout
