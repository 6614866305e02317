"""Probes whether edited runs can join a model's clean forward: tried once on small ones and compared."""

import torch

from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.dry_run import verdict
from explaind_worker.engine.scoring.rows import grouped
from explaind_worker.engine.sweep.runs import Base, Run, batches, swept_by
from explaind_worker.models.device_errors import out_of_memory, poisoned
from explaind_worker.models.loading.loaded import LoadedModel

# Largest difference of the last residuals, relative to their largest, that rounding in that dtype can explain.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
NARROW_TOLERANCE = 5e-2
LENGTHS = (9, 11)
BORDER = 12  # one token of a two-token continuation is fed: rows of 10 and 12 tokens are below the border
BEYOND = (12, 13)


def why_whole(model: LoadedModel) -> str | None:
    """Why this model's edited runs are read whole; None if they can join the clean run.

    Probed at the first call and cached with the model.
    """
    return verdict(model, "whole_because", _tried)


def _tried(model: LoadedModel) -> str | None:
    with model.lengths.border_at(BORDER):
        return _compared(model, _runs(model))


def _compared(model: LoadedModel, runs: list[Run]) -> str | None:
    of_base: dict[Base, list[Run]] = {}
    for run in runs:
        of_base.setdefault(run.base, []).append(run)
    try:
        together = list(batches(runs, lambda *_: True, model.lengths))
        joined = {
            run: residual
            for batch in together
            for run, residual in zip(batch, _last_residuals(model, batch, growing=True), strict=True)
        }
    except Exception as error:
        if out_of_memory(error) or poisoned(error):
            raise
        return f"changed runs could not join the clean one ({type(error).__name__})"
    whole = torch.cat([_last_residuals(model, alone, growing=False) for alone in of_base.values()])
    difference = (torch.stack([joined[run] for alone in of_base.values() for run in alone]) - whole).abs().max()
    difference = float(difference / whole.abs().max().clamp_min(1e-12))
    exact = model.quantization is None
    allowed = TOLERANCE.get(model.network.dtype, NARROW_TOLERANCE) if exact else NARROW_TOLERANCE
    if not difference <= allowed:
        return f"changed runs that join the clean one differ by {difference:.1e}"
    return None


def _last_residuals(model: LoadedModel, runs: list[Run], *, growing: bool) -> torch.Tensor:
    """Resid_post of the last block at the positions read, [run, read, hidden]."""
    swept = swept_by(model, runs, growing=growing)
    with model.lock, torch.inference_mode(), swept.rows.attached(narrow=growing):
        model.network.base_model(input_ids=swept.ids, use_cache=False)
    return swept.rows.read[swept.row_of].float()


def _runs(model: LoadedModel) -> list[Run]:
    """Every kind of edit at the first, a middle and the last layer, for rows of different lengths.

    Where rotary factors depend on the length, some rows lie beyond the border.
    """
    group = grouped([(1, 2)])[0]
    layers = sorted({0, len(model.anatomy.blocks) // 2, len(model.anatomy.blocks) - 1})
    edits = [
        edit
        for layer in layers
        for edit in (
            Edit(layer, "resid_pre", positions=(2, 4)),
            Edit(layer, "z", heads=(0, model.anatomy.heads - 1)),
            Edit(layer, "attn_out", positions=(1, 5)),
            Edit(layer, "mlp_out"),
        )
    ]
    variants = [Variant((edit,)) for edit in edits] + [Variant((edits[1], edits[-1]))]
    runs = []
    for question, length in enumerate((*LENGTHS, *BEYOND) if model.lengths.vary else LENGTHS):
        tokens = tuple((place * 7919 + 13 + question) % model.anatomy.vocabulary for place in range(length))
        base = Base(question, (*tokens, *group.fed.tolist()), group)
        runs += [Run(base, number, variant) for number, variant in enumerate([Variant(), *variants])]
    return runs
