"""Benchmark cases of head sweeps and lenses, each compared with the loop its users write today."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import heads_peers, lens_memory, lens_peers
from benchmarks.alternating import Array, Side, alternate
from benchmarks.counting import matrix_peak
from benchmarks.drawn_questions import DrawnQuestions
from benchmarks.rows import Row
from benchmarks.settings import Settings
from benchmarks.shapes import DEMO, GPT2, LLAMA, Prompt, Shape, shapes_on
from benchmarks.speed import largest_difference, short
from benchmarks.workbench import Workbench
from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.sweep.generation import continuations_under
from explaind_worker.engine.sweep.support_check import why_whole


@dataclass(frozen=True)
class Scale:
    """Amount of work per case; `layers` are those whose heads a peer ablates if it may do a part only."""

    questions: int = 8
    shortest: int = 18
    layers: int = 1
    new_tokens: int = 8
    lens_tokens: int = 128


@dataclass(frozen=True)
class Case:
    """Two implementations of one result on some shapes. The peer gets the share of the work that it does, in layers.

    `compared` selects the part of ours that the peer returns; None to compare the whole.
    """

    name: str
    peer_name: str
    ours: Callable[[Workbench], Array]
    peer: Callable[[Workbench, int], Array]
    in_layers: bool = True
    needs: str | None = None
    shapes: tuple[Shape, ...] = (GPT2, LLAMA)


def insides_cases(scale: Scale) -> list[Case]:
    """Every speed case at that scale."""

    def questions(bench: Workbench) -> DrawnQuestions:
        if bench.shape is DEMO:
            return DrawnQuestions.of_demo(bench.tokenizer, scale.questions)
        return DrawnQuestions.drawn(bench.shape.vocabulary, scale.questions, shortest=scale.shortest)

    def logprobs(bench: Workbench) -> Array:
        """[head, question] of all layers: the clean log-probability minus the head's effect."""
        found = bench.asked("explain/head-ablation", **questions(bench).fields(), metric="logprob")
        return np.array(found.clean) - np.array(found.effects).reshape(-1, scale.questions)

    def continuations(bench: Workbench) -> Array:
        return _continuations(bench, questions(bench), scale.new_tokens)

    def asking(peer: Callable[..., Array], **options: Any) -> Callable[[Workbench, int], Array]:
        return lambda bench, layers: peer(bench, questions(bench), layers, **options)

    prompt = partial(Prompt.drawn, units=scale.lens_tokens, target=1)
    generated = asking(heads_peers.generated, new_tokens=scale.new_tokens)
    lens_name = "output_hidden_states, unembedded"
    return [
        Case("heads_logprob", "a forward per head and question", logprobs, asking(heads_peers.one_by_one)),
        Case("heads_logprob_batched", "a forward per head", logprobs, asking(heads_peers.batched)),
        Case("heads_generate", "generate per head and question", continuations, generated),
        Case("heads_generate", "generate per head and question", continuations, generated, shapes=(DEMO,)),
        Case(
            "logit_lens",
            lens_name,
            lambda bench: _lens(bench, prompt(bench.shape.vocabulary)),
            lambda bench, _layers: lens_peers.hidden_states(bench, prompt(bench.shape.vocabulary), lens_memory.TOP),
            in_layers=False,
        ),
        Case(
            "heads_logprob_hooked_transformer",
            "TransformerLens 3, HookedTransformer",
            logprobs,
            asking(heads_peers.hooked_transformer),
            needs="transformer_lens.config.hooked_transformer_config",
            shapes=(GPT2,),
        ),
        Case(
            "heads_logprob_transformer_bridge",
            "TransformerLens, TransformerBridge",
            logprobs,
            asking(heads_peers.transformer_bridge),
            needs="transformer_lens.model_bridge",
            shapes=(GPT2,),
        ),
    ]


def _continuations(bench: Workbench, asked: DrawnQuestions, new_tokens: int) -> Array:
    """Tokens [head, question, token] under every single-head ablation, by the engine behind explain/head-ablation."""
    model = bench.model
    heads = [
        Variant((Edit(layer, "z", heads=(head,)),))
        for layer in range(len(model.anatomy.blocks))
        for head in range(model.anatomy.heads)
    ]
    said = continuations_under(
        model,
        asked.prompts,
        [heads] * len(asked.prompts),
        new_tokens,
        end_ids=model.end_ids,
        meter=CostMeter(),
        report_progress=lambda *_: None,
        limits=BatchLimits.for_device(model.device),
    )
    answers = [[heads_peers.padded(run, new_tokens) for run in of_question[1:]] for of_question in said]
    return np.array(answers, dtype=np.float64).transpose(1, 0, 2)


def _lens(bench: Workbench, prompt: Prompt) -> Array:
    streams = ["resid_pre", "resid_post"]
    found = bench.asked("explain/logit-lens", prompt=prompt.text, streams=streams, top=lens_memory.TOP)
    return np.concatenate([np.array(found.stream(name).top_probabilities) for name in streams])


class Insides:
    """Runs cases, each shape saved and loaded once, or on the given `bench`."""

    def __init__(self, scale: Scale, settings: Settings, *, bench: Callable[[Shape], Workbench] | None = None) -> None:
        self._scale, self._settings = scale, settings
        self.bench: Callable[[Shape], Workbench] = bench or cache(self._made)

    def rows(self, case: Case, shapes: tuple[Shape, ...] | None = None) -> list[Row]:
        """One row for each of its shapes."""
        return [self.row(case, shape) for shape in shapes or case.shapes]

    def row(self, case: Case, shape: Shape) -> Row:
        """The case on that shape; a row without times gives the reason why it could not be measured."""
        if case.needs is not None and not _installed(case.needs):
            reason = f"{case.needs} is not installed; it takes an environment of its own"
            return Row(case.name, shape.name, peer=case.peer_name, figures={"skipped": reason})
        bench, settings = self.bench(shape), self._settings
        depth = len(bench.model.anatomy.blocks)
        layers = depth if settings.whole or not case.in_layers else min(depth, self._scale.layers)
        _warm_up(bench)
        ours, peer = alternate(
            partial(case.ours, bench),
            partial(case.peer, bench, layers),
            bench.counters,
            repeats=settings.repeats,
            spend_s=settings.spend_s,
        )
        return _row(case, bench, ours, peer, layers / depth if case.in_layers else 1.0)

    def _made(self, shape: Shape) -> Workbench:
        folder = Path(tempfile.mkdtemp(prefix="explaind-bench-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # a worker may read the files again
        return Workbench(shape, folder, self._settings)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the peer's package is missing
        return False


def _warm_up(bench: Workbench) -> None:
    """Runs that are slow only the first time."""
    ids = bench.tensor([range(5, 30)])
    with torch.inference_mode():
        for network in (bench.network, bench.model.network):
            network(ids)
    why_whole(bench.model)


def _row(case: Case, bench: Workbench, ours: Side, peer: Side, share: float) -> Row:
    figures: dict[str, Any] = {"repeats": len(ours.seconds)}
    difference = None
    if peer.error is not None:
        figures["peer_error"] = peer.error
    else:
        compared = ours.answer[: len(peer.answer)]
        difference = short(largest_difference(compared, peer.answer))
        figures["largest_value"] = short(np.abs(peer.answer).max())
        if case.name == "heads_generate":  # token ids: their difference is meaningless
            same = (compared == peer.answer).all(axis=-1)
            difference, figures = None, {**figures, "same": short(same.mean())}
            del figures["largest_value"]
    return Row(
        case.name,
        bench.shape.name,
        ours_s=round(ours.median, 4),
        peer=case.peer_name,
        peer_s=round(peer.median / share, 4) if peer.seconds else None,
        max_abs_diff=difference,
        tokens_evaluated=ours.count.tokens,
        peer_tokens_evaluated=round(peer.count.tokens / share) if peer.seconds and peer.count.tokens else None,
        peak_fraction=short(ours.count.flops / ours.median / matrix_peak(bench.device, bench.dtype)),
        peer_share=short(share) if share < 1 else None,
        figures=figures,
    )


def cases(settings: Settings) -> dict[str, Callable[[], list[Row]]]:
    """Every case of the area by name."""
    scale = Scale()
    insides, by_name = Insides(scale, settings), dict[str, list[Case]]()
    for case in insides_cases(scale):
        by_name.setdefault(case.name, []).append(case)
    return {
        **{name: partial(_all_rows, insides, of_name, settings.device) for name, of_name in by_name.items()},
        "logit_lens_memory": lambda: [lens_memory.memory_row(shape, scale.lens_tokens) for shape in (GPT2, LLAMA)],
    }


def _all_rows(insides: Insides, cases: list[Case], device: str) -> list[Row]:
    sized = {LLAMA: shapes_on(device)[-1]}
    return [insides.row(case, sized.get(shape, shape)) for case in cases for shape in case.shapes]
