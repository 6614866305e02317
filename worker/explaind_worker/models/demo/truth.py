"""Attribution truth: how often the word with the largest Shapley value is a planted cause.

A player is a word of the prompt; absent words have each of their tokens replaced by `<mask>`. The value of
a coalition is log p(answer), or log p(answer) - log p(foil), in nats. Independent of the service's own
attribution code, so that it can serve as a check on it.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from explaind_worker.models.demo.batches import word_of_tokens
from explaind_worker.models.demo.cases import TASKS, WORD, Case, generate_cases
from explaind_worker.models.demo.tokenizer import MASK, token_id

EXACT_WORDS = 12
"""Up to this many words every coalition is evaluated; above, orders of the words are sampled."""

SAMPLED_ORDERS = 64
_FORWARD_ROWS = 1024


@dataclass(frozen=True)
class Shapley:
    """Shapley values of the words of one prompt, in nats, in the prompt's order."""

    words: tuple[str, ...]
    plain: tuple[float, ...]
    """Values of log p(answer)."""
    contrast: tuple[float, ...]
    """Values of log p(answer) - log p(foil)."""


@dataclass(frozen=True)
class TopUnit:
    """Shares of cases whose top word (largest positive value) is a planted cause."""

    plain: float
    contrast: float
    cases: int


def shapley_values(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, case: Case) -> Shapley:
    """Shapley values of the prompt's words: exact up to `EXACT_WORDS` words, else over antithetic orders."""
    words = tuple(WORD.findall(case.prompt))
    game = _Game(model, tokenizer, case)
    values = _exact(game, len(words)) if len(words) <= EXACT_WORDS else _sampled(game, len(words))
    plain, contrast = values.unbind(1)
    return Shapley(words, tuple(plain.tolist()), tuple(contrast.tolist()))


def top_is_cause(case: Case, values: Sequence[float]) -> bool:
    """True where the word with the largest value overlaps a planted cause of `case`."""
    spans = [match.span() for match in WORD.finditer(case.prompt)]
    begin, end = spans[max(range(len(values)), key=values.__getitem__)]
    return any(begin < cause_end and cause_begin < end for cause_begin, cause_end in case.causes)


def attribution_truth(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, seed: int
) -> dict[str, TopUnit]:
    """For every task the share of `count` held-out cases whose top word is a planted cause."""
    shares: dict[str, TopUnit] = {}
    for task in TASKS:
        plain = contrast = 0
        for case in generate_cases(task, count, seed, "heldout"):
            values = shapley_values(model, tokenizer, case)
            plain += top_is_cause(case, values.plain)
            contrast += top_is_cause(case, values.contrast)
        shares[task] = TopUnit(plain / count, contrast / count, count)
    return shares


class _Game:
    """Coalitions of one prompt's words, valued by the model."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, case: Case) -> None:
        self._model = model
        encoded = tokenizer(case.prompt, return_offsets_mapping=True)
        self._prompt = torch.tensor(encoded["input_ids"])
        word_of = torch.tensor(word_of_tokens(encoded["offset_mapping"], case.prompt))
        self._kept = word_of < 0
        self._word_of = word_of.clamp(min=0)
        self._mask = token_id(tokenizer, MASK)
        self._targets = [
            torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (case.answer, case.foil)
        ]

    def values(self, coalitions: Tensor) -> Tensor:
        """[coalitions, 2]: the plain and the contrast value of each row of bool [coalitions, words]."""
        shown = coalitions[:, self._word_of] | self._kept
        prompts = torch.where(shown, self._prompt, self._mask)
        parts = [self._log_probabilities(rows) for rows in prompts.split(_FORWARD_ROWS)]
        answer, foil = torch.cat(parts).unbind(1)
        return torch.stack([answer, answer - foil], dim=1)

    def _log_probabilities(self, prompts: Tensor) -> Tensor:
        answer, foil = self._targets
        shared = torch.equal(answer[:-1], foil[:-1])
        columns: list[Tensor] = []
        logs = torch.empty(0)
        for target in self._targets:
            if not (shared and columns):
                ids = torch.cat([prompts, target[:-1].expand(len(prompts), -1)], dim=1)
                with torch.inference_mode():
                    logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=len(target)).logits
                logs = logits.log_softmax(-1)
            columns.append(logs[:, range(len(target)), target].sum(1))
        return torch.stack(columns, dim=1)


def _exact(game: _Game, count: int) -> Tensor:
    codes = torch.arange(2**count)
    coalitions = (codes[:, None] >> torch.arange(count)) & 1 == 1
    values = game.values(coalitions)
    sizes = coalitions.sum(1)
    weights = torch.tensor([1 / (count * math.comb(count - 1, size)) for size in range(count)])
    result = torch.zeros(count, 2)
    for player in range(count):
        without = codes[~coalitions[:, player]]
        gains = values[without + 2**player] - values[without]
        result[player] = (weights[sizes[without], None] * gains).sum(0)
    return result


def _sampled(game: _Game, count: int) -> Tensor:
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    orders: list[list[int]] = []
    for _ in range(SAMPLED_ORDERS // 2):
        order = rng.sample(range(count), count)
        orders += [order, order[::-1]]
    coalitions = torch.zeros(len(orders), count + 1, count, dtype=torch.bool)
    for index, order in enumerate(orders):
        for position, player in enumerate(order):
            coalitions[index, position + 1 :, player] = True
    values = game.values(coalitions.flatten(0, 1)).view(len(orders), count + 1, 2)
    result = torch.zeros(count, 2)
    for order, path in zip(orders, values, strict=True):
        for player, (before, after) in zip(order, pairwise(path), strict=True):
            result[player] += (after - before) / len(orders)
    return result
