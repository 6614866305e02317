"""explain/tuned-lens: the residual stream decoded through a lens trained for this model."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from explaind.contract.methods.explain.tuned_lens import LensOrigin, PlainStream, TunedLens, TunedLensParams
from explaind_worker.attachments.lookup import owner_of
from explaind_worker.attachments.owner import AttachmentOwner
from explaind_worker.lenses.checkpoint import LensFile, check_owner, check_unembedding
from explaind_worker.lenses.lookup import LENS_LOADER
from explaind_worker.lenses.query import Reading, lens_question
from explaind_worker.lenses.readout import read_lens
from explaind_worker.lenses.translators import Translators
from explaind_worker.session.session import Session


def run(params: TunedLensParams, session: Session) -> TunedLens:
    """The tuned lens at each layer (Belrose et al. 2023), next to the logit lens."""
    owner = owner_of(session, session.model_access.anatomy())
    name, lens = LENS_LOADER.find(params.lens, session)
    checked = check_owner(lens, owner)
    question = lens_question(params, ("resid_pre", "resid_post"), session)
    if _same_unembedding(lens, owner, session):
        checked.append("unembedding")
    through = partial(_translated, lens.translators, question.readings)
    fields = read_lens(question, params.top, session, through=through)
    with session.job.phase("logit lens"):
        plain = read_lens(replace(question, followed=()), 1, session)
    steps = lens.facts.get("steps")
    return TunedLens.model_validate(
        {
            **fields,
            "lens": LensOrigin(
                name=name,
                form="tuned-lens" if lens.published else "explaind",
                made_for=lens.owner.model,
                checked=checked,
                trained_steps=None if steps is None else int(steps),
            ),
            "logit_lens": [_plain(stream) for stream in plain["streams"]],
            "notes": _notes(lens, checked, session),
        }
    )


def _translated(lens: Translators, readings: tuple[Reading, ...], reading: int, rows: torch.Tensor) -> torch.Tensor:
    stream, layer = readings[reading]
    return lens(layer if stream == "resid_pre" else layer + 1, rows)


def _same_unembedding(lens: LensFile, owner: AttachmentOwner, session: Session) -> bool:
    """Whether the unembedding was compared; the only check that needs the weights, after all others."""
    if lens.unembedding is None:
        return False
    weight = getattr(session.model_access.model().anatomy.unembedding, "weight", None)
    readable = isinstance(weight, torch.Tensor) and not weight.is_meta
    return check_unembedding(lens, owner, weight if readable else None)


def _plain(stream: Any) -> PlainStream:
    return PlainStream(
        stream=stream.stream, layers=stream.layers, divergence=stream.divergence, agreement=stream.agreement
    )


def _notes(lens: LensFile, checked: list[str], session: Session) -> list[str]:
    notes = []
    if lens.published:
        missing = [what for what in ("name", "revision", "unembedding") if what not in checked]
        if missing:
            notes.append(
                f"The lens says that it is of {lens.owner.model}; its {' and '.join(missing)} could not be compared "
                f"with {session.model_access.entry.name}."
            )
    trained, read = lens.facts.get("quantization"), str(session.model_access.encoder.quantization or "none")
    if trained is not None and trained != read:
        notes.append(f"The lens was trained on weights of quantization {trained}; here they are of {read}.")
    return notes
