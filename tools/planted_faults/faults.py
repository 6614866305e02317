"""Table of planted faults: the change, its file, and the tests that should fail."""

import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("faults.toml")


class FaultError(Exception):
    """The table does not fit the source tree: a text does not occur exactly once."""


@dataclass(frozen=True)
class Fault:
    """One change of one file: `old`, which occurs exactly once, becomes `new`. Any failure in `tests` catches it."""

    id: str
    area: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The file's text with the fault planted.

        Raises:
            FaultError: `old` is not in the text exactly once.
        """
        count = text.count(self.old)
        if count != 1:
            raise FaultError(f"{self.id}: {self.old!r} occurs {count} times in {self.file}.")
        return text.replace(self.old, self.new)


def all_faults(table: Path = TABLE) -> list[Fault]:
    """Every fault of the table, in its order. Raises FaultError for duplicate ids."""
    rows = tomllib.loads(table.read_text(encoding="utf-8"))["fault"]
    faults = [Fault(**{**row, "tests": tuple(row["tests"])}) for row in rows]
    ids = [fault.id for fault in faults]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise FaultError(f"Ids occur twice: {', '.join(sorted(twice))}.")
    return faults


def chosen(faults: Iterable[Fault], ids: Iterable[str], areas: Iterable[str]) -> list[Fault]:
    """The faults with one of these ids or areas; all of them if neither is given.

    Raises:
        FaultError: no fault has that id or area.
    """
    faults, wanted = list(faults), {*ids, *areas}
    if unknown := wanted - {fault.id for fault in faults} - {fault.area for fault in faults}:
        raise FaultError(f"There is no fault or area {', '.join(sorted(unknown))}.")
    return [fault for fault in faults if not wanted or wanted & {fault.id, fault.area}]


def checked(fault: Fault, root: Path = ROOT) -> str:
    """The text of the fault's file with the fault planted.

    Raises:
        FaultError: the file does not exist, or `old` is not in it exactly once; names the file that contains the text
            now.
    """
    path = root / fault.file
    if not path.is_file():
        raise FaultError(f"{fault.id}: there is no {fault.file}.{_found_in(fault.old, root)}")
    try:
        return fault.planted(path.read_text(encoding="utf-8"))
    except FaultError as error:
        raise FaultError(f"{error}{_found_in(fault.old, root)}") from None


def _found_in(text: str, root: Path) -> str:
    """Location of the text now, as the end of an error message; "" if it occurs nowhere or in many files."""
    search = ["git", "grep", "-lF", "-e", text.strip().splitlines()[0], "--", ".", ":!tools", ":!docs"]
    found = subprocess.run(search, cwd=root, capture_output=True, text=True, check=False).stdout.split()
    return f" It is in {' and '.join(found)} now." if 0 < len(found) <= 3 else ""
