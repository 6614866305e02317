"""Generates a continuation token by token, and scores the tokens of a given text."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, LogitsProcessorList
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward, input_device, placeholder_token
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.logits_at import entering_unembedding

READ_AT_ONCE = 16 << 20  # logits computed at once when a whole text is scored


@dataclass(frozen=True)
class Reading:
    """A token at its position: log-probability (nats), rank (0 is likeliest), and the likeliest tokens there."""

    token_id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters; temperature 0 takes the likeliest token."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0

    def warpers(self) -> LogitsProcessorList:
        """The processors of the distribution from which a token is drawn."""
        warpers = LogitsProcessorList([TemperatureLogitsWarper(self.temperature)] if self.temperature > 0 else [])
        if self.top_k is not None:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1.0:
            warpers.append(TopPLogitsWarper(self.top_p))
        return warpers


class Generator:
    """Generates a continuation: each call of `step` adds a token.

    The key/value cache belongs to this object, so several may be in progress on one model. If a longer text has other
    rotary factors, the cache is rebuilt: every token is chosen as after one plain forward of all before it.
    """

    def __init__(self, model: LoadedModel, prompt_ids: Sequence[int], sampling: Sampling, *, meter: CostMeter) -> None:
        self._model = model
        self._meter = meter
        self._sampling = sampling
        self._warpers = sampling.warpers()
        self._random = torch.Generator().manual_seed(sampling.seed)
        self._token_ids = list(prompt_ids)
        self._cache = DynamicCache(config=model.network.config)
        self._cached = 0  # number of tokens in the cache

    def step(self, top: int) -> Reading:
        """The next token and the `top` likeliest ones; log-probabilities are of the unmodified distribution."""
        if not self._model.lengths.alike((max(1, self._cached), len(self._token_ids))):
            self._cache, self._cached = DynamicCache(config=self._model.network.config), 0
        reading = forward(
            self._model,
            lambda: self._read_next(top),
            placeholder=lambda: _placeholders([placeholder_token(self._model)])[0],
            meter=self._meter,
            tokens=len(self._token_ids) - self._cached,
            reads=1,
        )
        self._cached = len(self._token_ids)
        self._token_ids.append(reading.token_id)
        return reading

    def _read_next(self, top: int) -> Reading:
        """One step's forward. The model's lock must be held."""
        output = self._model.network(
            input_ids=self._next, past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        logits = output.logits[0, -1:].float()
        chosen = self._choose(logits)
        return _readings(logits, torch.tensor([chosen], device=logits.device), top)[0]

    @property
    def _next(self) -> torch.Tensor:
        """Input of the next forward, [1, token]."""
        return torch.tensor([self._token_ids[self._cached :]], device=input_device(self._model))

    def _choose(self, logits: torch.Tensor) -> int:
        if self._sampling.temperature == 0.0:
            return int(logits.argmax())
        warped = self._warpers(self._next, logits)  # type: ignore[arg-type]
        # Drawn on the CPU, so that a seed gives the same tokens on every device.
        return int(torch.multinomial(warped.softmax(-1).cpu(), 1, generator=self._random))


def greedy(
    model: LoadedModel,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    meter: CostMeter,
    report_progress: ReportProgress,
) -> list[int]:
    """The greedy continuation, without the end token."""
    generator = Generator(model, prompt_ids, Sampling(), meter=meter)
    said: list[int] = []
    for done in range(max_new_tokens):
        report_progress("generating", done, max_new_tokens, "tokens")
        token_id = generator.step(top=0).token_id
        if token_id in model.end_ids:
            break
        said.append(token_id)
    report_progress("generating", len(said), len(said), "tokens")
    return said


def read(
    model: LoadedModel,
    token_ids: Sequence[int],
    first: int,
    top: int,
    *,
    meter: CostMeter,
    limits: BatchLimits | None = None,
) -> list[Reading]:
    """Readings of the tokens from index `first` (at least 1) on, each given all tokens before it."""
    return forward(
        model,
        lambda: _read(model, token_ids, first, top, backoff=Backoff(meter), at_once=_places_at_once(model, limits)),
        placeholder=lambda: _placeholders(token_ids[first:]),
        meter=meter,
        tokens=len(token_ids) - 1,
        reads=len(token_ids) - first,
    )


def _read(
    model: LoadedModel, token_ids: Sequence[int], first: int, top: int, *, backoff: Backoff, at_once: int
) -> list[Reading]:
    """The forward of `read`, with logits for `at_once` positions at a time. The model's lock must be held."""
    ids = torch.tensor([list(token_ids)], device=model.device)
    readings: list[Reading] = []
    hidden = entering_unembedding(model.network, model.anatomy.unembedding, ids[:, :-1])[0, first - 1 :]

    def unembed(places: Sequence[int]) -> list[Reading]:
        part = slice(places[0], places[-1] + 1)
        logits = model.anatomy.final_logits(model.anatomy.unembedding(hidden[part])).float()
        return _readings(logits, ids[0, first:][part], top)

    places = range(len(hidden))
    for start in range(0, len(hidden), at_once):
        for _, part in backoff.halving(places[start : start + at_once], unembed):
            readings += part
    return readings


def _placeholders(token_ids: Sequence[int]) -> list[Reading]:
    return [Reading(token_id, -1.0, 0, ()) for token_id in token_ids]


def _places_at_once(model: LoadedModel, limits: BatchLimits | None) -> int:
    most = max(1, READ_AT_ONCE // model.anatomy.vocabulary)
    if limits is None or limits.bytes is None:
        return most
    return max(1, min(most, limits.bytes // Footprint.of(model).logit_bytes(1)))


def _readings(logits: torch.Tensor, chosen: torch.Tensor, top: int) -> list[Reading]:
    """Readings of the `chosen` tokens [place] from logits [place, vocabulary]."""
    logz = logits.logsumexp(-1)
    own = logits.gather(-1, chosen[:, None])[:, 0]
    ranks = (logits > own[:, None]).sum(-1)
    best = logits.topk(top, dim=-1)
    readings = []
    for place, token_id in enumerate(chosen.tolist()):
        rivals = zip(best.indices[place].tolist(), (best.values[place] - logz[place]).tolist(), strict=True)
        readings.append(Reading(token_id, float(own[place] - logz[place]), int(ranks[place]), tuple(rivals)))
    return readings
