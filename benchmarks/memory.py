"""Memory of many coalitions of a long prompt.

`python -m benchmarks.memory FOLDER VOCABULARY UNITS TARGET COALITIONS ALGORITHM` measures it on the model in that
directory, in a fresh process, and prints the results as JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.rows import Row
from benchmarks.shapes import Prompt, Shape
from explaind.contract.methods.explain.shap import ShapParams
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.methods.explain import shap
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.session import Session

ALLOWED_MODELS, ALLOWED_BEYOND = 1.5, 512 << 20
STATUS = Path("/proc/self/status")


def memory_row(shape: Shape, units: int, target: int, coalitions: int, *, algorithm: str) -> Row:
    """`coalitions` coalitions of a prompt of `units` tokens, in a separate process."""
    with tempfile.TemporaryDirectory(prefix="explaind-bench-") as folder:
        shape.save(Path(folder))
        arguments = [folder, *map(str, (shape.vocabulary, units, target, coalitions)), algorithm]
        command = [sys.executable, "-m", "benchmarks.memory", *arguments]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Row("memory", shape.name, figures=json.loads(printed.splitlines()[-1]))


def measured(folder: Path, prompt: Prompt, coalitions: int, algorithm: str) -> dict[str, Any]:
    """Peak memory of this process beyond its current memory, and the model's size; all in bytes.

    `exact` groups neighbouring tokens, so that all subsets of the groups give this number of coalitions; `kernel` draws
    the coalitions over single tokens, which share far less.
    """
    groups = (coalitions - 1).bit_length() if algorithm == "exact" else prompt.units
    params = ShapParams.model_validate(
        {
            "model": "measured",
            "prompt": prompt.text,
            "target": {"token_ids": list(prompt.target_ids)},
            "units": prompt.segments(groups),
            "algorithm": algorithm,
            "budget": coalitions,
        }
    )
    entry = ModelEntry(name="measured", path=folder, dtype="float32", device="cpu", description="")
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    with Session(entry, ModelPool(), lambda *_: None) as session:
        result = shap.run(params, session)
        size = session.model_access.model().bytes
        tokens = session.job.meter.tokens_evaluated
    return {
        "model_bytes": size,
        "peak_bytes": peak_bytes() - before,
        "allowed_bytes": int(ALLOWED_MODELS * size) + ALLOWED_BEYOND,
        "algorithm": algorithm,
        "coalitions": result.evaluations,
        "prompt_tokens": prompt.units,
        "tokens_evaluated": tokens,
        "seconds": round(time.monotonic() - began, 2),
    }


def peak_bytes(status: Path = STATUS) -> int:
    """Peak memory of this process. getrusage would include its parent's before the start."""
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError("This system does not tell the most memory that a process had (VmHWM in /proc/self/status).")


def main() -> None:
    """Measure and print."""
    folder, *numbers, algorithm = sys.argv[1:]
    vocabulary, units, target, coalitions = map(int, numbers)
    prompt = Prompt.drawn(vocabulary, units, target=target)
    print(json.dumps(measured(Path(folder), prompt, coalitions, algorithm)))


if __name__ == "__main__":
    main()
