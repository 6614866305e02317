"""Table of the fault matrix in docs/operate/failures.md, from the committed rows of one run."""

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operate" / "failures.md"
RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
BEGIN, END = "<!-- rows of benchmarks/results/faults.json -->", "<!-- end of rows -->"
COLUMNS = {
    "accepted": "accepted",
    "refused": "refused",
    "lost": "lost",
    "started_twice": "started twice",
    "completed_twice": "computed twice",
    "finished_once": "finished once",
    "fenced": "late finishes refused",
    "seconds": "seconds",
}


def rendered_page() -> str:
    """The page with the current table.

    Raises:
        ValueError: the page lacks the markers of the table.
    """
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no place for the table: it must hold {BEGIN} and {END}.")
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [f"| {row['cell']} | {' | '.join(str(row[name]) for name in COLUMNS)} |" for row in rows]
    head = [f"| cell | {' | '.join(COLUMNS.values())} |", "| --- |" + " ---: |" * len(COLUMNS)]
    return "\n".join([f"{before}{BEGIN}", "", *head, *lines, "", f"{END}{after}"])
