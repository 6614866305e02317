"""explain/activation-patching: patches activations of one run into another, one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from explaind.contract.blocks.attribution import AttributionRequest
from explaind.contract.blocks.hook_points import HookPoint
from explaind.contract.blocks.subject import PromptRequest, Subject
from explaind.contract.errors import InvalidRequest, NonFiniteScore
from explaind.contract.methods.explain.activation_patching import (
    ActivationPatching,
    ActivationPatchingParams,
    PatchGrid,
    PatchPoint,
)
from explaind_worker.ablation.selection import chosen
from explaind_worker.attribution.query import AttributionQuery
from explaind_worker.engine.activations.capture import Activations, activation_bytes, capture
from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.dry_run import computed
from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion
from explaind_worker.engine.scoring.value_function import FloatArray, TokenScores
from explaind_worker.engine.sweep.sweep import Sweep, SweepQuestion
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.session import Session
from explaind_worker.statistics.rounding import alike


def run(params: ActivationPatchingParams, session: Session) -> ActivationPatching:
    """How far each patch moves the base run's score towards the source's.

    Raises:
        InvalidRequest: the prompts differ in length, are equal, or have the same score; a layer or a
            position does not exist; target or foil cannot be scored.
    """
    patching = _Patching(params, session)
    grids: list[PatchGrid] = []
    for point in params.grids:
        with session.job.phase(point):
            grids.append(patching.grid(point))
        session.job.make_partial_result = lambda: patching.result(grids)
    return patching.result(grids)


@dataclass(frozen=True)
class _Runs:
    """Token scores of base and source, [1, token] each."""

    base: TokenScores
    source: TokenScores


class _Patching:
    """The two runs. The constructor makes all checks that need no model weights."""

    def __init__(self, params: ActivationPatchingParams, session: Session) -> None:
        self._params = params
        self._session = session
        shared = params.model_dump(include=set(Subject.model_fields), exclude_unset=True)
        self._inquiry = AttributionQuery(AttributionRequest(**shared, units="token"), session)
        self._clean = self._inquiry.encoded
        self._corrupted = self._encoded()
        self._refuse_unlike()
        self._denoise = params.direction == "denoise"
        self._evaluations = 0
        self._anatomy = session.model_access.anatomy()
        self._layers = chosen(params.layers, len(self._anatomy.blocks), "/layers", "layer")
        self._positions = chosen(params.positions, len(self._clean), "/positions", "token of the prompt")

    def grid(self, point: PatchPoint) -> PatchGrid:
        """Patches one hook point at all layers and positions."""
        columns = list(range(self._anatomy.heads)) if point == "z" else self._positions
        # Before the first differing token the two runs are equal, so that a patch there changes nothing.
        moved = [column for column in columns if point == "z" or column >= self._first_difference]
        places = [(layer, column) for layer in self._layers for column in moved]
        base = self._score(self._runs.base)
        scores = np.full((len(self._layers), len(columns)), base)
        if places:
            patched = self._score_all(self._patched(point, places))[1:]
            scores[:, [columns.index(column) for column in moved]] = patched.reshape(len(self._layers), len(moved))
            self._evaluations += len(places)
        effects = (scores - base) / self._difference
        return PatchGrid(
            point=point, layers=self._layers, columns=columns, effects=effects.tolist(), scores=scores.tolist()
        )

    def result(self, grids: list[PatchGrid]) -> ActivationPatching:
        """The result with the grids so far."""
        params, inquiry = self._params, self._inquiry
        base, source = self._score(self._runs.base), self._score(self._runs.source)
        clean = self._runs.source if self._denoise else self._runs.base
        texts, question = inquiry.scored_texts(clean.logprobs[0].tolist()), inquiry.question()
        return ActivationPatching(
            prompt=self._clean.text,
            corrupted=self._corrupted.text,
            tokens=self._session.model_access.encoder.texts_of(self._clean.token_ids),
            corrupted_tokens=self._session.model_access.encoder.texts_of(self._corrupted.token_ids),
            target=texts[question.answers.index(question.target)],
            foil=texts[1] if question.foil is not None else None,
            labels=texts if question.labels is not None else None,
            score=params.score,
            direction=params.direction,
            clean_score=source if self._denoise else base,
            corrupted_score=base if self._denoise else source,
            grids=list(grids),
            evaluations=self._evaluations,
        )

    def _patched(self, point: PatchPoint, places: Sequence[tuple[int, int]]) -> TokenScores:
        """Scores under the patches at these (layer, column), [1 + place, token], the clean run first."""
        continuations = self._inquiry.question().continuations
        asked = [
            SweepQuestion(
                self._base.token_ids,
                [continuations[index] for index in indices],
                [self._patch(recording, point, layer, column) for layer, column in places],
            )
            for indices, recording in self._recordings
        ]
        order = [index for indices, _ in self._recordings for index in indices]
        ends = np.cumsum([len(continuations[index]) for index in order])[:-1]
        found = self._sweep(asked)

        def columns(kind: Sequence[FloatArray]) -> FloatArray:
            apart = np.split(np.concatenate(kind, axis=1), ends, axis=1)
            return np.concatenate([apart[order.index(index)] for index in range(len(order))], axis=1)

        return TokenScores(
            logprobs=columns([scores.logprobs for scores in found]), logits=columns([scores.logits for scores in found])
        )

    def _patch(self, recording: Activations, point: PatchPoint, layer: int, column: int) -> Variant:
        recorded = recording[HookPoint(point, layer)]
        if point == "z":
            whole = (0, len(self._clean))
            edit = Edit(layer, point, heads=(column,), positions=whole, value=recorded[:, column : column + 1])
        else:
            edit = Edit(layer, point, positions=(column, column + 1), value=recorded[column : column + 1])
        return Variant((edit,))

    @property
    def _base(self) -> EncodedPrompt:
        return self._corrupted if self._denoise else self._clean

    @property
    def _source(self) -> EncodedPrompt:
        return self._clean if self._denoise else self._corrupted

    @cached_property
    def _first_difference(self) -> int:
        pairs = zip(self._clean.token_ids, self._corrupted.token_ids, strict=True)
        return next(place for place, (one, other) in enumerate(pairs) if one != other)

    @cached_property
    def _runs(self) -> _Runs:
        continuations = self._inquiry.question().continuations
        asked = [SweepQuestion(encoded.token_ids, continuations, ()) for encoded in (self._base, self._source)]
        with self._session.job.phase("scoring both prompts"):
            return _Runs(*self._sweep(asked))

    @cached_property
    def _difference(self) -> float:
        """The source's score minus the base's."""
        base, source = self._score(self._runs.base), self._score(self._runs.source)
        alike_runs = computed(
            self._session.model_access.model(),
            lambda: alike(source, base, size=self._size, eps=self._eps),
            placeholder=lambda: False,
        )
        if alike_runs:
            raise InvalidRequest.at(
                self._params.corrupted_pointer,
                f"The target's score is {base:.4g} after both prompts: there is no difference for a patch to carry.",
                hint="Change what the answer depends on, or give the target and foil that the two prompts tell apart.",
            )
        return source - base

    @property
    def _size(self) -> float:
        """Magnitude of the numbers from which the scores are computed: logits, or the probabilities themselves."""
        if self._params.score == "prob":
            return 0.0
        return max(1.0, *(float(np.abs(scores.logits).max()) for scores in (self._runs.base, self._runs.source)))

    @property
    def _eps(self) -> float:
        return torch.finfo(getattr(torch, self._session.model_access.model().dtype)).eps

    @cached_property
    def _recordings(self) -> list[tuple[list[int], Activations]]:
        """The source's activations at its prompt, each with the indices of the continuations it applies to.

        One recording for all, unless rows of different lengths have different rotary factors.
        """
        self._sweep  # noqa: B018 - its limits are checked before the first forward
        session, source = self._session, self._source.token_ids
        model, meter, lengths = session.model_access.model(), session.job.meter, session.model_access.model().lengths
        by_class: dict[int, list[int]] = {}
        continuations = self._inquiry.question().continuations
        for index, continuation in enumerate(continuations):
            by_class.setdefault(lengths.last(len(source) + len(continuation) - 1), []).append(index)
        prompt = range(len(source))
        found = []
        for last, indices in by_class.items():
            fed = () if lengths.last(len(source)) == last else continuations[indices[0]][:-1]
            row = (*source, *fed)
            recording = capture(
                model, row, self._params.grids, layers=self._layers, meter=meter, positions=prompt if fed else None
            )
            found.append((indices, recording))
        return found

    @cached_property
    def _sweep(self) -> Sweep:
        """The sweep for patched runs; its limits account for the recording."""
        session, params, length = self._session, self._params, len(self._clean)
        _, reads, fed = EmbeddedQuestion.shape(self._inquiry.question())
        recordings = len({len(continuation) for continuation in self._inquiry.question().continuations})
        kept = activation_bytes(session.model_access.footprint, length, params.grids, len(self._layers))
        kept *= recordings if session.model_access.meta_model().lengths.vary else 1
        limits = session.model_access.batch_limits(length + fed, reads=reads, kept=kept)
        model = session.model_access.model()
        return Sweep(model, meter=session.job.meter, report_progress=session.job.report_progress, limits=limits)

    def _score(self, scores: TokenScores) -> float:
        return float(self._score_all(scores)[0])

    def _score_all(self, scores: TokenScores) -> FloatArray:
        columns = self._inquiry.question().columns(scores).sum(axis=1)
        if not np.isfinite(columns).all():
            raise NonFiniteScore(
                f"{self._session.model_access.entry.name} answered with a score that is not a finite number.",
                hint='The dtype may be too narrow for these activations: try dtype = "float32".',
            )
        return columns

    def _encoded(self) -> EncodedPrompt:
        """The corrupted prompt; errors point to its own field."""
        params = self._params
        request = PromptRequest(model=params.model, prompt=params.corrupted, messages=params.corrupted_messages)
        try:
            return self._session.model_access.prompt(request, params.corrupted_pointer)
        except InvalidRequest as error:
            raise type(error).at(params.corrupted_pointer, error.detail, hint=error.hint) from None

    def _refuse_unlike(self) -> None:
        pointer, clean, corrupted = self._params.corrupted_pointer, self._clean, self._corrupted
        if len(clean) != len(corrupted):
            raise InvalidRequest.at(
                pointer,
                f"The prompt has {len(clean)} tokens and the corrupted one {len(corrupted)}; a patch needs the same "
                "place in both.",
                hint="Exchange words for others of as many tokens: infer/tokenize shows how many a text has.",
            )
        if clean.token_ids == corrupted.token_ids:
            raise InvalidRequest.at(
                pointer, "The corrupted prompt is the prompt itself.", hint="Change what the answer depends on."
            )
