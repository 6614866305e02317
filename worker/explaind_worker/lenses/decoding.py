"""Decodes rows of the residual stream into tokens, without materializing rows × vocabulary.

The vocabulary is processed in tiles; per row only running values are kept: the largest logit and the sums of an online
softmax (Milakov & Gimelshein 2018, arXiv:1805.02867), extended to entropy and divergence, and the best tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.lenses.vocab_tiles import Running, Tracked
from explaind_worker.models.loading.loaded import LoadedModel

# Logits held at once, and minimum tokens per tile: on a CPU they stay in its caches.
CPU_TILE, CUDA_TILE, OPAQUE_TILE = 1 << 20, 32 << 20, 8 << 20
LEAST_TOKENS = 512

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# Maps the index of a reading and its rows [place, hidden] to the rows that are decoded instead.
Through = Callable[[int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Decoded:
    """Decoded rows [reading, place]. Log-probabilities, entropy and divergence are in nats.

    `top_ids` and `top_logprobs` are [reading, place, top], best first, ties by lower id. A tracked token's rank is 0 if
    no other is likelier; where a place tracks none, log-probability and rank are NaN and −1. `divergence` is KL(final ‖
    row), None without a final reading.
    """

    top_ids: Integers
    top_logprobs: Floats
    entropy: Floats
    divergence: Floats | None
    tracked_logprobs: Floats  # [reading, place, tracked]
    tracked_ranks: Integers  # [reading, place, tracked]


@dataclass(frozen=True)
class _Asked:
    """Decoding parameters, the same for all rows."""

    top: int
    final: int | None
    through: Through | None


def decode(
    model: LoadedModel,
    rows: torch.Tensor,
    *,
    top: int,
    meter: CostMeter,
    tracked: torch.Tensor | None = None,
    final: int | None = -1,
    through: Through | None = None,
    between: Callable[[int, int], None] | None = None,
) -> Decoded:
    """Decodes rows [reading, place, hidden] of the stream through the final norm and the unembedding.

    `tracked` are token ids, [tracked] everywhere or [place, tracked] with −1 for none. `final` is the reading whose
    distribution is the reference of the divergence, None for no comparison; it is decoded once. `through` transforms
    rows before the norm (a lens's translators), possibly those of the final reading too. `between(done, places)` is
    called between batches, with the model's lock free.

    Raises:
        OutOfMemory: the device cannot hold the logits of a single place.
    """
    readings, places, _ = rows.shape
    ids = _tracked_ids(tracked, places)
    compared = None if final is None else final % readings
    asked = _Asked(min(top, _vocabulary(model)), compared, through)
    logits, least = _sizes(model)
    at_once = max(2, logits // least)
    some_places = max(1, at_once // readings)
    some_readings = max(1, min(readings, at_once - (compared is not None)))
    backoff = Backoff(meter)
    parts: list[Decoded] = []

    def run(part: Sequence[int]) -> Decoded:
        inside = slice(part[0], part[-1] + 1)
        with model.lock, torch.inference_mode():
            return joined(
                [
                    _decoded(model, rows[:, inside], chosen, ids[inside], asked)
                    for chosen in _parts(range(readings), some_readings)
                ],
                axis=0,
            )

    for chosen in _parts(range(places), some_places):
        for part, decoded in backoff.halving(chosen, run):
            parts.append(decoded)
            if between is not None:
                between(part[-1] + 1, places)
    return joined(parts, axis=1)


def _decoded(
    model: LoadedModel, rows: torch.Tensor, chosen: Sequence[int], ids: torch.Tensor, asked: _Asked
) -> Decoded:
    """The chosen readings of rows [reading, place, hidden], with the final one if they are compared with it."""
    final = asked.final
    read = list(chosen) if final is None or final in chosen else [*chosen, final]
    anatomy, device = model.anatomy, model.device
    hidden = anatomy.final_norm(_entering(model, rows, read, asked.through)).flatten(0, 1)
    unembed = _Tiles(model, hidden)
    shape = (len(read), rows.shape[1])
    ids = ids.to(device)
    distinct = ids[ids >= 0].unique()
    tracked = Tracked(ids, distinct, unembed.tokens(distinct).unflatten(1, shape))
    running = Running(shape, asked.top, tracked, None if final is None else read.index(final), device)
    for first, logits in unembed:
        running.take(logits, first)
    return _answer(running, len(chosen))


def _entering(model: LoadedModel, rows: torch.Tensor, read: Sequence[int], through: Through | None) -> torch.Tensor:
    """The requested readings [reading, place, hidden] on the model's device; no copy if all are requested."""
    if through is None:
        return (rows if list(read) == list(range(len(rows))) else rows[list(read)]).to(model.device)
    return torch.stack([through(reading, found := rows[reading].to(model.device)).to(found.dtype) for reading in read])


class _Tiles:
    """Logits of rows [row, hidden] after the final norm, in float32 tiles [token, row].

    A plain unembedding is multiplied by slices of the vocabulary, as weights @ rows: faster for a vocabulary far longer
    than the rows. Any other (a quantized one) computes all tokens at once.
    """

    def __init__(self, model: LoadedModel, hidden: torch.Tensor) -> None:
        self._anatomy = model.anatomy
        self._unembedding = model.anatomy.unembedding
        self._hidden = hidden
        self._plain = model.anatomy.logit_scale == 1.0 and model.anatomy.logit_softcap is None
        logits, least = _sizes(model)
        self._size = min(_vocabulary(model), max(least, logits // len(hidden)))
        self._buffer: torch.Tensor | None = None

    def __iter__(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Each tile with its first token id; a tile is invalid once the next one is requested."""
        weight = plain_weight(self._unembedding)
        if weight is None:
            yield 0, self._all()
            return
        for first in range(0, len(weight), self._size):
            yield first, self._product(weight[first : first + self._size], slice(first, first + self._size))

    def tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [token, row] of single tokens, computed by the same products as the tiles."""
        weight = plain_weight(self._unembedding)
        if weight is None:
            return self._all()[ids]
        parts = [self._product(weight[part], part).clone() for part in ids.split(self._size) if len(part)]
        return torch.cat(parts) if parts else self._hidden.new_empty((0, len(self._hidden)), dtype=torch.float32)

    def _all(self) -> torch.Tensor:
        return self._anatomy.final_logits(self._unembedding(self._hidden)).float().t()

    def _product(self, weight: torch.Tensor, part: slice | torch.Tensor) -> torch.Tensor:
        if self._buffer is None:
            self._buffer = weight.new_empty((self._size, len(self._hidden)))
        logits = torch.mm(weight, self._hidden.to(weight.dtype).t(), out=self._buffer[: len(weight)])
        if (bias := getattr(self._unembedding, "bias", None)) is not None:
            logits += bias[part, None]
        return (logits if self._plain else self._anatomy.final_logits(logits)).float()


def decoding_bytes(model: LoadedModel, readings: int, places: int) -> int:
    """Peak bytes, beside the weights, while rows [reading, place, hidden] are kept and decoded."""
    anatomy, width = model.anatomy, getattr(torch, model.dtype).itemsize
    logits, least = _sizes(model)
    kept = readings * places
    at_once = min(kept, max(2, logits // least)) + places
    tile = max(min(logits, at_once * anatomy.vocabulary), at_once * min(least, anatomy.vocabulary))
    # Rows count twice while they are assembled, those of a batch before and after the norm; of a tile the logits in the
    # model's dtype and in float32, their exponentials and products, and intermediates of soft caps.
    return (2 * kept + 4 * at_once) * anatomy.hidden * max(width, 4) + tile * (3 * width + 3 * 4)


def plain_weight(unembedding: nn.Module) -> torch.Tensor | None:
    """The weights [token, hidden] of a plain matrix, which may be multiplied in slices; None for anything else."""
    return unembedding.weight if type(unembedding) is nn.Linear else None


def _sizes(model: LoadedModel) -> tuple[int, int]:
    """Logits held at once, and minimum tokens per tile."""
    if plain_weight(model.anatomy.unembedding) is None:
        return OPAQUE_TILE, model.anatomy.vocabulary
    return (CUDA_TILE if model.device.type == "cuda" else CPU_TILE), LEAST_TOKENS


def _vocabulary(model: LoadedModel) -> int:
    weight = plain_weight(model.anatomy.unembedding)
    return model.anatomy.vocabulary if weight is None else len(weight)


def _tracked_ids(tracked: torch.Tensor | None, places: int) -> torch.Tensor:
    """[place, tracked]"""
    if tracked is None:
        return torch.empty((places, 0), dtype=torch.long)
    return tracked.expand(places, -1) if tracked.dim() == 1 else tracked


def _parts(indices: range, size: int) -> list[range]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _answer(running: Running, readings: int) -> Decoded:
    """The first `readings` readings; a final one added for comparison only is dropped."""
    ids, logprobs = running.best()
    divergence = running.divergence()
    own, ranks = running.tracked_answers(ids, logprobs)
    return Decoded(
        top_ids=_array(ids)[:readings],
        top_logprobs=_array(logprobs)[:readings],
        entropy=_array(running.entropy())[:readings],
        divergence=None if divergence is None else _array(divergence)[:readings],
        tracked_logprobs=_array(own)[:readings],
        tracked_ranks=_array(ranks)[:readings],
    )


def _array(numbers: torch.Tensor) -> NDArray:
    return numbers.cpu().numpy()


def joined(parts: Sequence[Decoded], *, axis: int) -> Decoded:
    """The parts concatenated along the readings (axis 0) or the places (axis 1)."""
    divergences = [part.divergence for part in parts if part.divergence is not None]
    return Decoded(
        top_ids=np.concatenate([part.top_ids for part in parts], axis),
        top_logprobs=np.concatenate([part.top_logprobs for part in parts], axis),
        entropy=np.concatenate([part.entropy for part in parts], axis),
        divergence=np.concatenate(divergences, axis) if divergences else None,
        tracked_logprobs=np.concatenate([part.tracked_logprobs for part in parts], axis),
        tracked_ranks=np.concatenate([part.tracked_ranks for part in parts], axis),
    )
