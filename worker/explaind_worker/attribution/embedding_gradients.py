"""Gradient of the score with respect to a prompt's embeddings, the basis of all gradient methods."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from explaind.contract.blocks.attribution_result import Attribution, Replacement
from explaind.contract.blocks.gradient_attribution import EmbeddingBaseline, GradientRequest
from explaind.contract.blocks.units import ReplacementText
from explaind.contract.errors import NoBaselineToken, NonFiniteScore
from explaind_worker.attribution.query import AttributionQuery
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.gradients.deeplift import deeplift
from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion, embed
from explaind_worker.engine.gradients.score_gradient import Noise, Path, Reduce, ScoreGradient
from explaind_worker.engine.scoring.masker import replacement_token
from explaind_worker.engine.scoring.value_function import FloatArray, TokenScores
from explaind_worker.models.loading.gradient_support import gradient_notes
from explaind_worker.models.text.tokenizer import EncodedPrompt, Encoder
from explaind_worker.session.session import Session
from explaind_worker.statistics.rounding import rounding_error


class EmbeddingGradients:
    """The request's units, their baseline embeddings, and the score's gradient on the path between.

    The constructor makes all checks that need no model weights. `units` are the prompt's.

    Raises:
        InvalidRequest: prompt, units, target or baseline cannot be used with this model (the field is named).
    """

    def __init__(self, request: GradientRequest, session: Session) -> None:
        self._session = session
        self._per_target = request.per_target
        self._inquiry = AttributionQuery(request, session)
        self._baseline = baseline_of(request.baseline, session.model_access.encoder, self._inquiry.encoded)
        self.units = self._inquiry.units
        self._unit = np.array([-1 if u is None else u for u in self._inquiry.unit_map.unit_of_token], dtype=np.int64)

    def path(self, fractions: FloatArray | Sequence[float], *, stdev: float = 0.0, seed: int = 0) -> Path:
        """The line from the baseline to the prompt at `fractions` [point], with noise of that stdev on the prompt."""
        self._limits  # noqa: B018 - checks memory before the embeddings, which are weights, are read
        noise = Noise(stdev, seed, self._moves) if stdev else None
        return Path(self._base, self._full, np.asarray(fractions, dtype=np.float64), noise)

    def contributions(self, path: Path, reduce: Reduce) -> Iterator[tuple[Sequence[int], FloatArray]]:
        """Per batch its points and their contributions [point, unit, column], summed over the units' tokens.

        Raises:
            NonFiniteScore: a gradient is NaN or infinite.
            GradientsUnavailable: gradients do not pass through the model.
        """
        for points, values in self._engine.contributions(path, reduce, per_target=self._per_target):
            yield points, self._in_units(values)

    def deeplift(self) -> FloatArray:
        """DeepLIFT contributions to the score difference between baseline and prompt: [unit, column].

        Raises:
            NonFiniteScore: a contribution is NaN or infinite.
            GradientsUnavailable: the network has no activations to which the rule can be applied.
        """
        session = self._session
        rows, reads, fed = EmbeddedQuestion.shape(self._inquiry.question())
        session.model_access.gradient_batch_limits(2 * rows, len(self._unit) + fed, reads=reads)
        model = session.model_access.model()
        gradient_notes(model)  # refuses before the first forward
        values = deeplift(
            model,
            self._inquiry.question(),
            self.path([]),
            per_target=self._per_target,
            meter=session.job.meter,
            report_progress=session.job.report_progress,
        )
        return self._in_units(values[None])[0]

    def _in_units(self, values: FloatArray) -> FloatArray:
        """Values [point, position, column] summed over the tokens of each unit: [point, unit, column]."""
        self._refuse_nonfinite(values)
        summed = np.zeros((len(self.units), len(values), values.shape[-1]))
        inside = self._unit >= 0
        np.add.at(summed, self._unit[inside], values[:, inside].swapaxes(0, 1))
        return summed.swapaxes(0, 1)

    def attribution(
        self,
        values: FloatArray,
        *,
        algorithm: str,
        evaluations: int,
        standard_errors: FloatArray | None = None,
    ) -> Attribution:
        """The result: values [unit, column], and the number of points at which the gradient was taken."""
        base, full = self._scores
        self._session.job.meter.scored(self._ends.logits, self._ends.logprobs)
        result = self._inquiry.attribution(
            values,
            base=base,
            full=full,
            logprobs=self._ends.logprobs[1].tolist(),
            algorithm=algorithm,
            evaluations=evaluations + len(self._scores),
            baseline=self._baseline,
            standard_errors=standard_errors,
        )
        return result.model_copy(update={"notes": gradient_notes(self._session.model_access.either_model())})

    @property
    def difference(self) -> float:
        """By how much the score of the prompt and that of its baseline differ, without a sign."""
        base, full = self._scores
        return abs(full - base)

    @property
    def rounding(self) -> float:
        """How far the two scores' difference may be off by rounding alone."""
        eps = torch.finfo(self._full.dtype).eps
        return rounding_error(max(map(abs, self._scores)), eps=eps)

    def gap(self, values: FloatArray) -> float:
        """How much of the difference in score the values [unit, column] leave over, without a sign."""
        base, full = self._scores
        return abs(full - base - float(values.sum()))

    @cached_property
    def _scores(self) -> tuple[float, float]:
        """The score of the baseline, and that of the prompt."""
        columns = self._inquiry.question().columns(self._ends)
        self._refuse_nonfinite(columns)
        return float(columns[0].sum()), float(columns[1].sum())

    @cached_property
    def _full(self) -> torch.Tensor:
        """The prompt's own embeddings [position, hidden]."""
        return embed(self._session.model_access.either_model(), self._inquiry.encoded.token_ids)

    @cached_property
    def _base(self) -> torch.Tensor:
        """The baseline's embeddings [position, hidden]; tokens outside every unit keep their own."""
        ids = self._baseline.token_ids
        replacement = (
            embed(self._session.model_access.either_model(), ids)[0] if ids else torch.zeros_like(self._full[0])
        )
        return torch.where(self._moves[:, None], replacement, self._full)

    @cached_property
    def _moves(self) -> torch.Tensor:
        """Which positions belong to a unit, [position]."""
        return torch.from_numpy(self._unit >= 0).to(self._full.device)

    @cached_property
    def _ends(self) -> TokenScores:
        """Token scores of the baseline and of the prompt."""
        with self._session.job.phase("scoring the target"):
            return self._engine.ends(self.path([]))

    @cached_property
    def _limits(self) -> BatchLimits:
        """Batch limits; memory is checked before the weights are loaded."""
        rows, reads, fed = EmbeddedQuestion.shape(self._inquiry.question())
        return self._session.model_access.gradient_batch_limits(rows, len(self._unit) + fed, reads=reads)

    @cached_property
    def _engine(self) -> ScoreGradient:
        session, limits = self._session, self._limits
        model = session.model_access.either_model()
        gradient_notes(model)  # refuses before the first forward
        return ScoreGradient(
            model,
            self._inquiry.question(),
            meter=session.job.meter,
            report_progress=session.job.report_progress,
            limits=limits,
        )

    def _refuse_nonfinite(self, values: FloatArray) -> None:
        if not np.isfinite(values).all():
            raise NonFiniteScore(
                f"{self._session.model_access.entry.name} answered with a score or a gradient that is not a finite "
                "number.",
                hint='A label may be impossible under this score, or the dtype too narrow: try score "logprob" or '
                'dtype = "float32".',
            )


def baseline_of(choice: EmbeddingBaseline, encoder: Encoder, encoded: EncodedPrompt) -> Replacement:
    """The token whose embedding is the baseline; no token for zeros.

    Raises:
        NoBaselineToken: the model has no token for the choice, or the text is more than one token.
    """
    if isinstance(choice, ReplacementText):
        ids = encoder.continuation(encoded, choice.text, pointer="/baseline/text")
        if len(ids) != 1:
            raise NoBaselineToken.at(
                "/baseline/text",
                f"{choice.text!r} is {len(ids)} tokens to this model; a baseline is one token, in place of each other.",
                hint="infer/tokenize shows a text's tokens; a leading space may matter.",
            )
        return Replacement(choice="text", text=choice.text, token_ids=list(ids))
    if choice == "zero":
        return Replacement(choice="zero")
    return replacement_token(choice, encoder, pointer="/baseline", hint='Choose "zero" or {"text": "…"}.')
