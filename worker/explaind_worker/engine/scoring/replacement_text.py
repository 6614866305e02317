"""A text in the place of absent units, with the spaces that the text around each unit has."""

from dataclasses import dataclass

import regex

from explaind.contract.blocks.attribution_result import PlacedText, Replacement
from explaind_worker.engine.scoring.units import UnitMap
from explaind_worker.models.text.tokenizer import EncodedPrompt, Encoder

# Letters of scripts that put no space between words.
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")


@dataclass(frozen=True)
class _Place:
    """What the replaced text is like at its ends: the space that goes with it, and the characters beside it.

    `joined`: it is within a word there, or within a text of a script without spaces.
    """

    begins: bool  # nothing stands before it
    lead: str
    trail: str
    before: str
    after: str
    joined_before: bool
    joined_after: bool

    def written(self, text: str) -> str:
        """The text for this place; within a word, or in a script without spaces, as it was given."""
        core = text.strip()
        if not core:
            return text
        lead, trail = self.lead, self.trail
        if self.begins:
            lead = ""
        elif not lead:
            lead = text[: text.index(core)] if self.joined_before else _gap(self.before, core[0])
        if not trail:
            trail = text[text.index(core) + len(core) :] if self.joined_after else _gap(core[-1], self.after)
        return lead + core + trail


def _gap(left: str, right: str) -> str:
    """A space between characters that would become one word, where punctuation between them is replaced."""
    apart = not (left.isalnum() and right.isalnum()) or UNSPACED.match(left) or UNSPACED.match(right)
    return "" if apart else " "


def replacement_text(text: str, encoder: Encoder, encoded: EncodedPrompt, unit_map: UnitMap) -> Replacement:
    """The text as it stands in the place of each unit.

    A space before the replaced text stands before this one too, and so behind; there is none at the start of the
    prompt. Within a word, and between characters of a script without spaces, the text is put in as it was given.

    Raises:
        InvalidTarget: it has no tokens in this model's vocabulary.
    """
    ids = encoder.continuation(encoded, text, pointer="/baseline/text")  # also refuses what cannot be read
    units: dict[tuple[str, bool], list[int]] = {}
    for unit, place in enumerate(_places(encoded, unit_map)):
        units.setdefault((place.written(text), place.begins), []).append(unit)
    placed = [
        PlacedText(text=written, token_ids=list(encoder.piece(written, begins=begins) or ids), units=members)
        for (written, begins), members in units.items()
    ]
    most = max(placed, key=lambda one: len(one.units), default=None)
    return Replacement(choice="text", text=text, token_ids=list(ids) if most is None else most.token_ids, placed=placed)


def _places(encoded: EncodedPrompt, unit_map: UnitMap) -> list[_Place]:
    """The place of each unit: that of its first tokens in a row, where the text is put in."""
    first: dict[int, int] = {}
    for position, unit in enumerate(unit_map.unit_of_token):
        if unit is not None:
            first.setdefault(unit, position)
    return [_place(encoded, unit_map, first[unit]) for unit in range(len(unit_map))]


def _place(encoded: EncodedPrompt, unit_map: UnitMap, position: int) -> _Place:
    text, unit, last = encoded.text, unit_map.unit_of_token[position], position
    while last + 1 < len(encoded) and unit_map.unit_of_token[last + 1] == unit:
        last += 1
    spans = [span for span in encoded.spans[position : last + 1] if span is not None]
    before = max((span[1] for span in encoded.spans[:position] if span is not None), default=0)
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    begin = min(before, start)  # some tokenizers leave the space out of the characters of a token
    replaced = text[begin:end]
    ink = replaced.strip()
    offset = replaced.index(ink) if ink else len(replaced)  # all of a space goes before
    start, end = begin + offset, begin + offset + len(ink)
    return _Place(
        begins=not text[:start].strip(),
        lead=replaced[:offset],
        trail=replaced[offset + len(ink) :],
        before=text[:start][-1:],
        after=text[end : end + 1],
        joined_before=text[:start][-1:].isalnum() and ink[:1].isalnum(),
        joined_after=text[end : end + 1].isalnum() and ink[-1:].isalnum(),
    )
