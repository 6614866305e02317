"""Results of planted faults as JSON and as a Markdown table, and the comparison of two runs."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.planted_faults.runner import Result

Record = dict[str, Any]


def records(path: Path) -> dict[str, Record]:
    """The results in a file, by id; empty if there is no file."""
    if not path.exists():
        return {}
    return {record["id"]: record for record in json.loads(path.read_text(encoding="utf-8"))}


def write(path: Path, results: Iterable[Result], order: Sequence[str]) -> None:
    """Merges results into the file, in the order of the ids; others are dropped."""
    kept = records(path)
    for result in results:
        row = {"id": result.id, "area": result.area, "outcome": result.outcome}
        kept[result.id] = {**row, "test": result.test, "seconds": result.seconds}
    rows = [kept[name] for name in order if name in kept]
    # One fault per line, for readable diffs.
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def markdown(results: Sequence[Result]) -> str:
    """A table of the results, and the counts by area."""
    lines = ["| fault | area | outcome | by | seconds |", "| --- | --- | --- | --- | ---: |"]
    lines += [f"| {r.id} | {r.area} | {r.outcome} | {_shown(r.test)} | {r.seconds:.1f} |" for r in results]
    caught, total = Counter(r.area for r in results if r.outcome == "caught"), Counter(r.area for r in results)
    areas = ", ".join(f"{area} {caught[area]}/{count}" for area, count in total.items())
    return "\n".join([*lines, "", f"Caught {caught.total()} of {total.total()}: {areas}."])


def lost(results: Iterable[Result], before: dict[str, Record]) -> list[str]:
    """Ids of faults caught before but not now."""
    return [
        result.id
        for result in results
        if result.outcome != "caught" and before.get(result.id, {}).get("outcome") == "caught"
    ]


def _shown(test: str | None) -> str:
    return "" if test is None else f"`{test.replace('|', chr(92) + '|')}`"
