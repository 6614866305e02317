"""Memory of a logit lens beside the model.

`python -m benchmarks.lens_memory SHAPE UNITS ours|at_once|by_layer` measures it on a model of that shape, in a fresh
process that has only read a short prompt, and prints the bytes.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks import lens_peers
from benchmarks.memory import peak_bytes
from benchmarks.rows import Row
from benchmarks.settings import Settings
from benchmarks.shapes import Prompt, Shape
from benchmarks.workbench import Workbench

TOP = 5
SHORT = 8  # tokens of the prompt read before
SIDES = ("ours", "at_once", "by_layer")  # the peer with all layers unembedded together, and one after another


def memory_row(shape: Shape, units: int) -> Row:
    """Ours and the peer's on a prompt of `units` tokens, each in a separate process."""
    found = {f"{side}_bytes": _in_a_process(shape, units, side) for side in SIDES}
    return Row("logit_lens_memory", shape.name, figures={**found, "prompt_tokens": units})


def measured(shape: Shape, folder: Path, units: int, side: str) -> int:
    """Peak bytes of a lens of the whole prompt beyond those of the process before it."""
    bench = Workbench(shape, folder, Settings())
    short, whole = (Prompt.drawn(shape.vocabulary, count, target=1) for count in (SHORT, units))
    lens(bench, short, side)
    _forget_peak()
    before = psutil.Process().memory_info().rss
    lens(bench, whole, side)
    return max(0, peak_bytes() - before)


def lens(bench: Workbench, prompt: Prompt, side: str) -> object:
    """The likeliest tokens at every layer and position, by ours or a peer."""
    if side != "ours":
        peer = lens_peers.all_at_once if side == "at_once" else lens_peers.hidden_states
        return peer(bench, prompt, TOP)
    return bench.asked("explain/logit-lens", prompt=prompt.text, streams=["resid_pre", "resid_post"], top=TOP)


def _forget_peak() -> None:
    """Resets the kernel's peak memory counter."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _in_a_process(shape: Shape, units: int, side: str) -> int:
    command = [sys.executable, "-m", "benchmarks.lens_memory", json.dumps(asdict(shape)), str(units), side]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(json.loads(printed.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    shape, units, side = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="explaind-bench-") as folder:
        print(json.dumps(measured(Shape(**json.loads(shape)), Path(folder), int(units), side)))


if __name__ == "__main__":
    main()
