"""`python -m benchmarks service|attribution|estimates [--case NAME] [--json FILE]`."""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

from benchmarks.rows import Row


def main() -> None:
    """Run the cases of an area, print each row, and write them all when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("area", choices=["service", "attribution", "estimates"])
    parser.add_argument("--case", action="append", help="only this case; may be given again")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the worker does, before torch is imported
    cases = importlib.import_module(f"benchmarks.{options.area}").CASES
    unknown = set(options.case or ()) - set(cases)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    rows = []
    for name in options.case or cases:
        found = cases[name]()
        for row in [found] if isinstance(found, Row) else found:
            rows.append(row.as_json())
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
