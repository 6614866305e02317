"""`python -m benchmarks service|attribution|insides|estimates|gpu [--case NAME] [--json FILE] [--full]`."""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from benchmarks.settings import Settings


def main() -> None:
    """Run the cases of an area, print each row, and write the rows if requested."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("area", choices=["service", "attribution", "insides", "estimates", "gpu"])
    parser.add_argument("--case", action="append", help="only this case; may be given again")
    parser.add_argument("--json", type=Path, help="write the rows to this file; rows of other cases in it stay")
    parser.add_argument("--full", action="store_true", help="have the peers do all their work; takes an hour")
    parser.add_argument("--repeats", type=int, default=Settings.repeats, help="how often each side of a case runs")
    parser.add_argument("--device", help="where both sides hold the model: cpu (cuda for the area gpu)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="float32 (bfloat16 on cuda of gpu)")
    parser.add_argument("--tiny", action="store_true", help="of the area gpu: models of two narrow layers")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the worker, before torch is imported
    area = importlib.import_module(f"benchmarks.{options.area}")
    settings = settings_of(options)
    cases = area.cases(settings)
    unknown = set(options.case or ()) - set(cases)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    rows: list[dict[str, Any]] = []
    for name in options.case or cases:
        found = cases[name]()
        new = [row.as_json() for row in ([found] if isinstance(found, Row) else found)]
        rows += new
        for row in new:
            print(json.dumps(row), flush=True)
        if options.json:
            machine = machine_of(settings)
            write(options.json, new, machine, keep=options.case is not None or len(rows) > len(new))


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of the command line; the default of the area gpu is one GPU in bfloat16."""
    device = options.device or ("cuda" if options.area == "gpu" else Settings.device)
    usual = "bfloat16" if options.area == "gpu" and device != "cpu" else Settings.dtype
    return Settings(
        whole=options.full,
        repeats=options.repeats,
        device=device_of(device),
        dtype=options.dtype or usual,
        tiny=options.tiny,
    )


def machine_of(settings: Settings) -> dict[str, Any]:
    """Description of the machine that was measured."""
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    if settings.device == "cpu":
        return machine
    torch: Any = importlib.import_module("torch")
    return {
        **machine,
        "accelerator": torch.cuda.get_device_name(settings.device),
        "dtype": settings.dtype,
        "torch": torch.__version__,
    }


def write(path: Path, rows: list[dict[str, Any]], machine: dict[str, Any], *, keep: bool) -> None:
    """Merges rows into that file, by case and model; overwrites it without `keep`, or for another machine."""
    before = json.loads(path.read_text(encoding="utf-8")) if keep and path.exists() else {}
    fresh = {(row["case"], row["model"]) for row in rows}
    kept = [
        row
        for row in before.get("rows", ())
        if before["machine"] == machine and (row["case"], row["model"]) not in fresh
    ]
    path.write_text(json.dumps({"machine": machine, "rows": [*kept, *rows]}, indent=2) + "\n", encoding="utf-8")


def device_of(asked: str) -> str:
    """The device with its index, in the worker's notation."""
    return "cuda:0" if asked == "cuda" else asked


if __name__ == "__main__":
    main()
