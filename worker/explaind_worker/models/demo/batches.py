"""Training batches: cases as token rows, some in chat format, some with masked words of the prompt."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from explaind_worker.models.demo import vocabulary as words
from explaind_worker.models.demo.cases import WORD, Case, generate_cases
from explaind_worker.models.demo.tokenizer import ASSISTANT, EOS, MASK, USER, token_id

IGNORED = -100
"""Label of a position that carries no loss."""


@dataclass(frozen=True)
class Mixture:
    """Composition of a training batch, as shares between 0 and 1 (`tasks` as weights)."""

    tasks: Mapping[str, float]
    chat: float = 0.15
    masked: float = 0.5
    fully_masked: float = 0.05
    """Share of the masked samples where every word of the prompt is hidden."""

    def blended(self, other: "Mixture", share: float) -> "Mixture":
        """This mixture interpolated towards `other`: this one at share 0, `other` at share 1."""

        def mix(mine: float, theirs: float) -> float:
            return mine + share * (theirs - mine)

        return Mixture(
            {task: mix(self.tasks[task], other.tasks[task]) for task in self.tasks},
            mix(self.chat, other.chat),
            mix(self.masked, other.masked),
            mix(self.fully_masked, other.fully_masked),
        )


@dataclass(frozen=True)
class Row:
    """One sample: token ids, the answer with its end token beginning at `answer_start`."""

    ids: list[int]
    answer_start: int


@dataclass(frozen=True)
class _Text:
    prefix: str
    case: Case
    suffix: str

    @property
    def full(self) -> str:
        return f"{self.prefix}{self.case.prompt}{self.suffix}{self.case.answer}{EOS}"


def word_of_tokens(offsets: list[tuple[int, int]], prompt: str, start: int = 0) -> list[int]:
    """For each token the index of its word in `prompt`, which begins at character `start`; -1 outside of it."""
    spans = [(start + match.start(), start + match.end()) for match in WORD.finditer(prompt)]
    indices: list[int] = []
    word = 0
    for begin, end in offsets:
        while word < len(spans) and spans[word][1] <= begin:
            word += 1
        inside = word < len(spans) and begin < end and spans[word][0] <= begin
        indices.append(word if inside else -1)
    return indices


def draw_rows(tokenizer: PreTrainedTokenizerBase, mixture: Mixture, count: int, seed: int, step: int) -> list[Row]:
    """`count` training rows in random order, the same for the same seed and step."""
    rng = random.Random(f"rows/{seed}/{step}")  # noqa: S311 - reproducible, not secret
    drawn = rng.choices(list(mixture.tasks), weights=list(mixture.tasks.values()), k=count)
    cases: list[Case] = []
    for task in mixture.tasks:
        cases.extend(generate_cases(task, drawn.count(task), rng.getrandbits(48), "train"))
    rng.shuffle(cases)
    texts = [_wrapped(case, cases[index - 1], mixture, rng) for index, case in enumerate(cases)]
    encoded = tokenizer([text.full for text in texts], return_offsets_mapping=True)
    mask = token_id(tokenizer, MASK)
    return [
        _masked(ids, offsets, text, mixture=mixture, rng=rng, mask=mask)
        for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _wrapped(case: Case, earlier: Case, mixture: Mixture, rng: random.Random) -> _Text:
    if rng.random() >= mixture.chat:
        return _Text("", case, "")
    prefix = USER
    if rng.random() < 0.15:
        prefix = f"{USER}{earlier.prompt}{ASSISTANT}{earlier.answer}{EOS}{USER}"
    elif rng.random() < 0.15:
        prefix = f"{USER}{rng.choice(words.SYSTEM_MESSAGES)} "
    return _Text(prefix, case, ASSISTANT)


def _masked(
    ids: list[int],
    offsets: list[tuple[int, int]],
    text: _Text,
    *,
    mixture: Mixture,
    rng: random.Random,
    mask: int,
) -> Row:
    """The row with words masked at one random rate: every rate from none to all is equally likely.

    That is the weighting of coalition sizes in a Shapley value, so the model has seen coalitions of every size and has
    learnt to predict the answer from the remaining words.
    """
    prompt_start = len(text.prefix)
    tail = prompt_start + len(text.case.prompt) + len(text.suffix)
    word_of = word_of_tokens(offsets, text.case.prompt, prompt_start)
    # The answer's first token is the first one with a non-empty span that begins at or after the tail.
    answer_start = next(i for i, (begin, end) in enumerate(offsets) if begin >= tail and end > begin)
    if rng.random() < mixture.masked:
        rate = 1.0 if rng.random() < mixture.fully_masked else rng.random()
        hidden = [rng.random() < rate for _ in range(max(word_of) + 1)]
        ids = [mask if word >= 0 and hidden[word] else token for token, word in zip(ids, word_of, strict=True)]
    return Row(list(ids), answer_start)


def collate(rows: list[Row], pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded (token ids, labels), each [rows, length]; labels already shifted, loss on answers only.

    No attention mask is needed: with causal attention no scored position attends to padding.
    """
    length = max(len(row.ids) for row in rows) - 1
    ids = torch.full((len(rows), length), pad)
    labels = torch.full((len(rows), length), IGNORED)
    for index, row in enumerate(rows):
        scored = len(row.ids) - 1
        ids[index, :scored] = torch.tensor(row.ids[:-1])
        labels[index, row.answer_start - 1 : scored] = torch.tensor(row.ids[row.answer_start :])
    return ids, labels


def micro_batches(rows: list[Row], parts: int, pad: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of one step in `parts` batches of similar length, to minimize padding."""
    ordered = sorted(rows, key=lambda row: len(row.ids))
    size = -(-len(ordered) // parts)
    for start in range(0, len(ordered), size):
        yield collate(ordered[start : start + size], pad)
