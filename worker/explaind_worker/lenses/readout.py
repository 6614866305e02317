"""Lens readout: decodes the residual stream and builds the fields of lens results."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from explaind.contract.blocks.hook_points import HookPoint
from explaind.contract.blocks.lens import DecodedStream, ReadPositions, TrackedStream, TrackedToken
from explaind.contract.errors import NonFiniteScore
from explaind_worker.engine.activations.capture import capture
from explaind_worker.engine.batching.dry_run import computed, placeholder_token
from explaind_worker.lenses.decoding import Decoded, Floats, Integers, Through, decode, decoding_bytes, joined
from explaind_worker.lenses.query import LensQuery
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.session.session import Session

MOST_BYTES = 256 << 20  # of rows of the stream held at once


def read_lens(question: LensQuery, top: int, session: Session, *, through: Through | None = None) -> dict[str, Any]:
    """The fields of a `LensReading`; `through` transforms the rows of each reading (see `decode`).

    Raises:
        RequestTooLarge, OutOfMemory: the text does not fit beside the model.
        NonFiniteScore: the model answered with NaN or infinity.
    """
    reader = _Reader(session, question, top, through)
    decoded = reader.decoded()
    if not all(np.isfinite(numbers).all() for numbers in (decoded.top_logprobs, decoded.entropy, _divergence(decoded))):
        raise NonFiniteScore(
            f"{session.model_access.entry.name} answered with numbers that are not finite.",
            hint='The dtype may be too narrow: try dtype = "float32".',
        )
    return _fields(reader.question, decoded, session)


class _Reader:
    """Reads a query's positions in groups, one forward each; `question` is complete once all are read."""

    def __init__(self, session: Session, question: LensQuery, top: int, through: Through | None) -> None:
        self.question = question
        self._session = session
        self._top = top
        self._through = through
        self._footprint = session.model_access.footprint
        sizes = session.model_access.meta_model()  # memory is checked before the weights are loaded
        each = len(question.readings) * sizes.anatomy.hidden * self._footprint.width
        size, positions = max(1, MOST_BYTES // each), question.positions
        self._groups = [positions[start : start + size] for start in range(0, len(positions), size)]
        self._bytes = decoding_bytes(sizes, len(question.readings), max(map(len, self._groups)))

    @property
    def _model(self) -> LoadedModel:
        return self._session.model_access.model()

    def decoded(self) -> Decoded:
        """The decoded readings at all positions."""
        footprint, session = self._footprint, self._session
        # The memory of decoding is counted as additional logits.
        reads = 1 + math.ceil(self._bytes / footprint.logit_bytes(1))
        session.model_access.batch_limits(len(self.question.token_ids), reads=reads)
        parts: list[Decoded] = []
        # From the end: the model's next token, if tracked, is decoded at the last position.
        for number, group in enumerate(reversed(self._groups)):
            session.job.report_progress("capturing the residual stream", number, len(self._groups), "forwards")
            rows = self._rows(group)
            session.job.report_progress("capturing the residual stream", number + 1, len(self._groups), "forwards")
            if not number and self.question.target is None:
                self.question = self.question.said(self._next_token(rows), session.job)
            parts.insert(0, self._decoded(rows, group))
        return joined(parts, axis=1)

    def _rows(self, group: Sequence[int]) -> torch.Tensor | None:
        """[reading, position, hidden]; None in a dry run."""
        readings = self.question.readings
        found = capture(
            self._model,
            self.question.token_ids,
            [HookPoint(*reading) for reading in readings],
            positions=group,
            meter=self._session.job.meter,
            reads=len(readings) * len(group),
            beside=self._bytes,
        )
        return computed(self._model, found.stacked, placeholder=lambda: None)

    def _next_token(self, rows: torch.Tensor | None) -> int:
        """The model's next token, from the prompt's last position."""
        if rows is None:
            return placeholder_token(self._model)
        said = decode(self._model, rows[-1:, -1:], top=1, final=None, meter=self._session.job.meter)
        return int(said.top_ids[0, 0, 0])

    def _decoded(self, rows: torch.Tensor | None, group: Sequence[int]) -> Decoded:
        followed, session = self.question.followed, self._session
        tracked = torch.tensor(
            [[one.token_id if not one.positions or at in one.positions else -1 for one in followed] for at in group],
            dtype=torch.long,
        )
        if rows is None:
            return _placeholder(len(self.question.readings), tracked, min(self._top, self._model.anatomy.vocabulary))
        return decode(
            self._model,
            rows,
            top=self._top,
            tracked=tracked,
            through=self._through,
            meter=session.job.meter,
            between=lambda done, total: session.job.report_progress("decoding", done, total, "positions"),
        )


def _placeholder(readings: int, tracked: torch.Tensor, top: int) -> Decoded:
    shape = (readings, len(tracked))
    return Decoded(
        top_ids=np.zeros((*shape, top), dtype=np.int64),
        top_logprobs=np.full((*shape, top), -1.0),
        entropy=np.ones(shape),
        divergence=np.zeros(shape),
        tracked_logprobs=np.full((*shape, tracked.shape[1]), -1.0),
        tracked_ranks=np.zeros((*shape, tracked.shape[1]), dtype=np.int64),
    )


def _divergence(decoded: Decoded) -> Floats:
    assert decoded.divergence is not None  # noqa: S101 - a final reading was given
    return decoded.divergence


def _fields(question: LensQuery, decoded: Decoded, session: Session) -> dict[str, Any]:
    """The fields of the result."""
    encoder, prompt = session.model_access.encoder, question.encoded
    names = list(dict.fromkeys(stream for stream, _ in question.readings))
    places = {name: [i for i, (stream, _) in enumerate(question.readings) if stream == name] for name in names}
    listed = sorted({*np.unique(decoded.top_ids).tolist(), *(followed.token_id for followed in question.followed)})
    tokens = dict(zip(listed, encoder.each_text_of(listed, after=prompt.token_ids), strict=True))
    final = decoded.top_ids[-1, :, 0]
    return {
        "prompt": prompt.text,
        "target": encoder.text_of(question.target, after=prompt.token_ids) if question.target else None,
        "positions": _positions(question, session),
        "streams": [
            _stream(name, [question.readings[place][1] for place in places[name]], _part(decoded, places[name]), final)
            for name in names
        ],
        "tracked": [
            _tracked(number, question, tokens, [_part(decoded, places[name]) for name in names])
            for number in range(len(question.followed))
        ],
        "tokens": tokens,
        "layer_count": question.layer_count,
        "top": decoded.top_ids.shape[-1],
    }


def _part(decoded: Decoded, readings: Sequence[int]) -> Decoded:
    chosen = list(readings)
    return Decoded(
        top_ids=decoded.top_ids[chosen],
        top_logprobs=decoded.top_logprobs[chosen],
        entropy=decoded.entropy[chosen],
        divergence=_divergence(decoded)[chosen],
        tracked_logprobs=decoded.tracked_logprobs[chosen],
        tracked_ranks=decoded.tracked_ranks[chosen],
    )


def _stream(name: str, layers: Sequence[int], decoded: Decoded, final: Integers) -> DecodedStream:
    wins = decoded.top_ids[:, :, 0] == final  # [layer, position]
    stays = np.logical_and.accumulate(wins[::-1])[::-1]
    return DecodedStream(
        stream=name,
        layers=list(layers),
        top_ids=decoded.top_ids.tolist(),
        top_probabilities=np.exp(decoded.top_logprobs).tolist(),
        entropy=decoded.entropy.tolist(),
        divergence=_divergence(decoded).tolist(),
        agreement=wins.mean(axis=1).tolist(),
        first_layer=_first(wins, layers),
        settled_layer=_first(stays, layers),
    )


def _first(true: np.ndarray, layers: Sequence[int]) -> list[int | None]:
    """Per position the first layer where `true` [layer, position]."""
    return [
        layers[at] if found else None for at, found in zip(true.argmax(0).tolist(), true.max(0).tolist(), strict=True)
    ]


def _tracked(number: int, question: LensQuery, tokens: dict[int, str], streams: Sequence[Decoded]) -> TrackedToken:
    followed = question.followed[number]
    columns = [
        column for column, at in enumerate(question.positions) if not followed.positions or at in followed.positions
    ]
    return TrackedToken(
        token_id=followed.token_id,
        text=tokens[followed.token_id],
        role=followed.role,
        positions=columns,
        streams=[
            TrackedStream(
                logprobs=stream.tracked_logprobs[:, columns, number].tolist(),
                probabilities=np.exp(stream.tracked_logprobs[:, columns, number]).tolist(),
                ranks=stream.tracked_ranks[:, columns, number].tolist(),
            )
            for stream in streams
        ],
    )


def _positions(question: LensQuery, session: Session) -> ReadPositions:
    prompt, encoder = question.encoded, session.model_access.encoder
    behind = question.target or ()
    texts = [
        encoder.text_of([token]) if span is None else prompt.text[slice(*span)]
        for token, span in zip(prompt.token_ids, prompt.spans, strict=True)
    ]
    texts += encoder.texts_of(behind, after=prompt.token_ids)
    specials = set(encoder.tokenizer.all_special_ids)
    ids = question.token_ids
    chosen = question.positions
    return ReadPositions(
        index=list(chosen),
        token_id=[ids[at] for at in chosen],
        text=[texts[at] for at in chosen],
        special=[ids[at] in specials for at in chosen],
        template=[at < len(prompt) and prompt.is_template(at) for at in chosen],
        in_target=[at >= len(prompt) for at in chosen],
    )
