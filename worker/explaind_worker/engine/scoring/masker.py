"""Masker: token ids of a prompt with some of its units replaced by the baseline."""

import json
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explaind.contract.blocks.attribution_result import Replacement
from explaind.contract.blocks.units import Baseline, ReplacementText
from explaind.contract.errors import NoBaselineToken
from explaind_worker.engine.scoring.replacement_text import replacement_text
from explaind_worker.engine.scoring.units import UnitMap
from explaind_worker.models.text.tokenizer import EncodedPrompt, Encoder

# Special tokens that replace a unit, by baseline choice; the first that the model can read is used.
CHAINS = {"mask": ("mask", "unk", "pad", "eos"), "pad": ("pad", "eos")}
TEXT_CHOICE = '{"text": "…"}'
BoolArray = NDArray[np.bool_]
TokenArray = NDArray[np.int64]


class Masker:
    """The units of a prompt as players of a coalition game.

    `rows(coalitions)` yields, for each coalition [unit], the prompt's token ids with absent units replaced.
    """

    def __init__(self, encoded: EncodedPrompt, unit_map: UnitMap, replacement: Replacement) -> None:
        self._ids = np.asarray(encoded.token_ids, dtype=np.int64)
        self._unit = np.asarray([-1 if u is None else u for u in unit_map.unit_of_token], dtype=np.int64)
        self._replacement = np.asarray(replacement.token_ids, dtype=np.int64)
        self._of_unit = [self._replacement] * len(unit_map)
        for placed in replacement.placed:
            for unit in placed.units:
                self._of_unit[unit] = np.asarray(placed.token_ids, dtype=np.int64)
        self._once = replacement.choice == "text"
        self._removed = replacement.choice == "remove"
        first = np.full(len(unit_map), len(self._ids), dtype=np.int64)
        for position in range(len(self._ids) - 1, -1, -1):
            if self._unit[position] >= 0:
                first[self._unit[position]] = position
        self._first = first
        self.count = len(unit_map)

    @property
    def longest(self) -> int:
        """Length of the longest row of any coalition."""
        if not self._once:
            return len(self._ids)
        # A replacement text appears once in place of all of a unit's tokens: a unit takes the longer of the two.
        of_unit = np.bincount(self._unit[self._unit >= 0], minlength=self.count)
        placed = np.array([len(ids) for ids in self._of_unit], dtype=np.int64)
        return int((self._unit < 0).sum() + np.maximum(of_unit, placed).sum())

    def rows(self, coalitions: BoolArray) -> Iterator[TokenArray]:
        """Token ids of the prompt under each coalition [coalition, unit], in order."""
        present = np.concatenate([coalitions, np.ones((len(coalitions), 1), dtype=bool)], axis=1)
        for kept in present[:, self._unit]:  # [token]; the extra column is for tokens that are always present
            if self._removed:
                yield self._ids[kept]
            elif self._once:
                yield self._with_text(kept)
            else:
                yield np.where(kept, self._ids, self._replacement[0])

    def _with_text(self, kept: BoolArray) -> TokenArray:
        parts = []
        for position, (is_kept, unit) in enumerate(zip(kept, self._unit, strict=True)):
            if is_kept:
                parts.append(self._ids[position : position + 1])
            elif self._first[unit] == position:
                parts.append(self._of_unit[unit])
        return np.concatenate(parts) if parts else self._ids[:0]


def replacement_for(baseline: Baseline, encoder: Encoder, encoded: EncodedPrompt, unit_map: UnitMap) -> Replacement:
    """The baseline resolved for this model: what replaces absent units.

    Raises:
        NoBaselineToken: the model has no token for the choice, or removal would leave an empty prompt.
    """
    if isinstance(baseline, ReplacementText):
        return replacement_text(baseline.text, encoder, encoded, unit_map)
    removable = any(unit is None for unit in unit_map.unit_of_token)
    if baseline == "remove":
        if not removable:
            others = [choice for choice in CHAINS if _token_of(choice, encoder) is not None]
            raise NoBaselineToken.at(
                "/baseline",
                "Removing every unit would leave the model nothing to read: its prompts have no start token.",
                hint=_choose(others),
            )
        return Replacement(choice="remove")
    return replacement_token(baseline, encoder, pointer="/baseline", hint=_choose(["remove"] if removable else []))


def _choose(choices: Sequence[str]) -> str:
    """A hint listing these usable choices, and a replacement text, which is always usable."""
    return f"Choose {' or '.join([*(json.dumps(choice) for choice in choices), TEXT_CHOICE])}."


def replacement_token(choice: Literal["mask", "pad"], encoder: Encoder, *, pointer: str, hint: str) -> Replacement:
    """The special token that replaces every token; `pointer` and `hint` are for the error.

    Raises:
        NoBaselineToken: the model has no token for the choice.
    """
    token_id = _token_of(choice, encoder)
    if token_id is None:
        kinds = " or ".join(CHAINS[choice])
        raise NoBaselineToken.at(pointer, f"This model has no {kinds} token that it can read.", hint=hint)
    token = encoder.tokenizer.convert_ids_to_tokens(token_id)
    return Replacement(choice=choice, text=str(token), token_ids=[token_id])


def _token_of(choice: str, encoder: Encoder) -> int | None:
    """The first special token of that choice that the model has and can read."""
    for kind in CHAINS[choice]:
        token_id = getattr(encoder.tokenizer, f"{kind}_token_id", None)
        if encoder.reads(token_id):
            return token_id
    return None
