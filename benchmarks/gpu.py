"""Benchmark cases of a GPU, one per model: coalitions as a tree, in dense batches, by captum; sweeps, a lens, memory.

They need only torch, transformers and the wheels of tools/gpu_wheels, and no network: the models are made from their
shapes. `--device cpu --tiny` runs them anywhere.
"""

import atexit
import gc
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import captum_peers
from benchmarks.alternating import Array
from benchmarks.counting import matrix_peak
from benchmarks.insides import Insides, insides_cases
from benchmarks.insides import Scale as InsidesScale
from benchmarks.rows import Row, seconds
from benchmarks.settings import Settings
from benchmarks.shapes import GEMMA2_2B, LLAMA_1B, LLAMA_8B, Prompt, Shape
from benchmarks.speed import largest_difference, short
from benchmarks.workbench import Workbench
from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import Segments
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.scoring.masker import BoolArray, Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import ValueFunction

SHAPES = (LLAMA_1B, GEMMA2_2B, LLAMA_8B)
INSIDE = ("heads_logprob", "logit_lens")


@dataclass(frozen=True)
class Scale:
    """Amount of work. captum does `samples` coalitions of as many tokens, one forward each."""

    units: int = 32
    prefix: int = 256
    target: int = 8
    coalitions: int = 512
    samples: int = 48
    insides: InsidesScale = field(default_factory=InsidesScale)


TINY = Scale(
    units=8, prefix=6, target=2, coalitions=24, samples=16,
    insides=InsidesScale(questions=2, shortest=6, layers=1, new_tokens=2, lens_tokens=8),
)  # fmt: skip


def rows_of(shape: Shape, scale: Scale, settings: Settings) -> list[Row]:
    """Every row of one model, which is created for them and freed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="explaind-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bench = Workbench(shape, folder, settings)
    insides = Insides(scale.insides, settings, bench=lambda _: bench)
    inside = [case for case in insides_cases(scale.insides) if case.name in INSIDE]
    return [
        *_readings(bench, scale, settings),
        *(insides.row(case, shape) for case in inside),
        _evicted(bench),
    ]


def _readings(bench: Workbench, scale: Scale, settings: Settings) -> list[Row]:
    prompt = Prompt.drawn(bench.shape.vocabulary, scale.units, target=scale.target, prefix=scale.prefix)
    drawn = np.random.default_rng(0).random((scale.coalitions, scale.units)) < 0.5
    tree = _row("tree", bench, settings, partial(_read, bench, prompt, drawn))
    dense = _row("dense", bench, settings, partial(_read, bench, prompt, drawn, dense=True))
    captum = _row("captum", bench, settings, lambda: captum_peers.kernel_shap(bench, prompt, scale.samples), peer=True)
    answers = [_read(bench, prompt, drawn[:16], dense=dense) for dense in (False, True)]
    difference = short(largest_difference(*answers))
    figures = {**dense.figures, "largest_value": short(np.abs(answers[1]).max())}
    return [tree, replace(dense, max_abs_diff=difference, figures=figures), captum]


def _read(bench: Workbench, prompt: Prompt, coalitions: BoolArray, *, dense: bool = False) -> Array:
    """Log-probabilities of the target [coalition] by the worker's engine."""
    model = bench.model
    encoded = model.encoder.prompt(PromptRequest(model=bench.entry.name, prompt=prompt.text))
    unit_map = units_of(encoded, Segments.model_validate(prompt.segments(prompt.units)))
    players = Masker(encoded, unit_map, replacement_for("mask", model.encoder, encoded, unit_map))
    value = ValueFunction(
        replace(model, verdicts={"dense_because": "asked for"}) if dense else model,
        players,
        [prompt.target_ids],
        meter=CostMeter(),
        report_progress=lambda *_: None,
        limits=BatchLimits.for_device(model.device),
    )
    return value(coalitions).logprobs.sum(axis=1)


def _row(case: str, bench: Workbench, settings: Settings, run: Callable[[], Array], *, peer: bool = False) -> Row:
    """Timing of one evaluator: the quickest of some runs, after a warm-up run."""
    counter = bench.counters[0 if peer else 1]
    run()
    counter.take()
    took = [seconds(run) for _ in range(settings.repeats)]
    count, best = counter.take(), min(took)
    flops, tokens = count.flops / len(took), count.tokens // len(took)
    return Row(
        case,
        bench.shape.name,
        ours_s=round(best, 4),
        tokens_evaluated=tokens,
        peak_fraction=short(flops / best / matrix_peak(bench.device, bench.dtype)),
        figures={"tokens_per_s": round(tokens / best), "repeats": len(took)},
    )


def _evicted(bench: Workbench) -> Row:
    """Memory of the worker's model, and what remains of it after its eviction."""
    size = bench.model.bytes
    bench.close()
    bench.counters.clear()
    before = _held(bench)
    bench.evict()
    gc.collect()
    freed = before - _held(bench)
    return Row("evicted", bench.shape.name, figures={"model_bytes": size, "freed_bytes": freed})


def _held(bench: Workbench) -> int:
    """Bytes in use on the device; on a CPU those in the worker's ledger."""
    return torch.cuda.memory_allocated(bench.device) if bench.device.type == "cuda" else bench.bytes_used()


def cases(settings: Settings) -> dict[str, Callable[[], list[Row]]]:
    """One case per model."""
    scale = TINY if settings.tiny else Scale()
    return {shape.name: partial(rows_of, _sized(shape, settings), scale, settings) for shape in SHAPES}


def _sized(shape: Shape, settings: Settings) -> Shape:
    return replace(shape.tiny(), name=f"tiny-{shape.name}") if settings.tiny else shape
