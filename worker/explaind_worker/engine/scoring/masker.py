"""Turns a coalition (which units are present) into the tokens the model reads."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explaind.contract.blocks.attribution_result import Replacement
from explaind.contract.blocks.units import Absent, ReplacementText
from explaind.contract.errors import NoStandIn
from explaind_worker.engine.scoring.units import UnitMap
from explaind_worker.models.loading.tokenizer import EncodedPrompt, Encoder

BoolArray = NDArray[np.bool_]
TokenArray = NDArray[np.int64]


class Masker:
    """The units of a prompt as players of a coalition game.

    `rows(coalitions)` yields, for each coalition [unit], the prompt's token ids with absent units replaced.
    """

    def __init__(self, encoded: EncodedPrompt, unit_map: UnitMap, stand_in: Replacement) -> None:
        self._ids = np.asarray(encoded.token_ids, dtype=np.int64)
        self._unit = np.asarray([-1 if u is None else u for u in unit_map.unit_of_token], dtype=np.int64)
        self._stand_in = np.asarray(stand_in.token_ids, dtype=np.int64)
        self._once = stand_in.absent == "text"
        self._removed = stand_in.absent == "remove"
        first = np.full(len(unit_map), len(self._ids), dtype=np.int64)
        for position in range(len(self._ids) - 1, -1, -1):
            if self._unit[position] >= 0:
                first[self._unit[position]] = position
        self._first = first
        self.count = len(unit_map)

    @property
    def longest(self) -> int:
        """No coalition's row has more tokens than this."""
        return len(self._ids) + (self.count * len(self._stand_in) if self._once else 0)

    def rows(self, coalitions: BoolArray) -> Iterator[TokenArray]:
        """Token ids of the prompt under each coalition [coalition, unit], in order."""
        present = np.concatenate([coalitions, np.ones((len(coalitions), 1), dtype=bool)], axis=1)
        for kept in present[:, self._unit]:  # [token]; the extra column is for tokens that are always present
            if self._removed:
                yield self._ids[kept]
            elif self._once:
                yield self._with_text(kept)
            else:
                yield np.where(kept, self._ids, self._stand_in[0])

    def _with_text(self, kept: BoolArray) -> TokenArray:
        parts = []
        for position, (is_kept, unit) in enumerate(zip(kept, self._unit, strict=True)):
            if is_kept:
                parts.append(self._ids[position : position + 1])
            elif self._first[unit] == position:
                parts.append(self._stand_in)
        return np.concatenate(parts) if parts else self._ids[:0]


def stand_in_for(absent: Absent, encoder: Encoder, encoded: EncodedPrompt, unit_map: UnitMap) -> Replacement:
    """What takes the place of absent units in this model.

    Raises:
        NoStandIn: the model has no token for the choice, or removal would leave nothing to read.
    """
    if isinstance(absent, ReplacementText):
        ids = encoder.continuation(encoded, absent.text)
        return Replacement(absent="text", text=absent.text, token_ids=list(ids))
    if absent == "remove":
        if all(unit is not None for unit in unit_map.unit_of_token):
            raise NoStandIn.at(
                "/absent",
                "Removing every unit would leave the model nothing to read: its prompts have no start token.",
                hint='Choose "mask" or {"text": "…"}.',
            )
        return Replacement(absent="remove")
    return special_stand_in(absent, encoder, pointer="/absent", hint='Choose "remove" or {"text": "…"}.')


def special_stand_in(choice: Literal["mask", "pad"], encoder: Encoder, *, pointer: str, hint: str) -> Replacement:
    """The special token that stands in for any token; `pointer` and `hint` are for the error.

    Raises:
        NoStandIn: the model has no token for the choice.
    """
    tokenizer = encoder.tokenizer
    chain: Sequence[str] = ("mask", "unk", "pad", "eos") if choice == "mask" else ("pad", "eos")
    for kind in chain:
        token_id = getattr(tokenizer, f"{kind}_token_id", None)
        if token_id is not None:
            token = tokenizer.convert_ids_to_tokens(token_id)
            return Replacement(absent=choice, text=str(token), token_ids=[int(token_id)])
    raise NoStandIn.at(pointer, f"This model has no {' or '.join(chain)} token.", hint=hint)
