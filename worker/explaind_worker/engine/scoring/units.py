"""Divides a prompt into units and assigns tokens to them.

Everything is decided by character offsets. Tokens that share characters stay together; words that share a token
become one unit, since one cannot be absent without the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import regex
import sentencex

from explaind.contract.blocks.units import Segments, Unit, UnitKind
from explaind.contract.blocks.units import Units as UnitsChoice
from explaind.contract.errors import InvalidUnits
from explaind_worker.models.text.tokenizer import EncodedPrompt, Region, Span

# Unicode word boundaries (UAX #29): contractions, numbers and joined emoji stay whole.
_WORD_BOUNDARY = regex.compile(r"(?V1)(?w)\b")
_PUNCTUATION = regex.compile(r"[\p{P}\p{Sm}\p{Sc}\p{Sk}--\p{Emoji_Modifier}]+", regex.V1)


@dataclass(frozen=True)
class UnitMap:
    """The units of a prompt and, for each token, the index of its unit, or None if it is always present."""

    units: tuple[Unit, ...]
    unit_of_token: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.units)


@dataclass
class _Piece:
    """Tokens that share characters, and the characters they cover together."""

    start: int
    end: int
    tokens: list[int]


@dataclass(frozen=True)
class _Candidate:
    start: int
    end: int
    region: Region | None = None
    name: str | None = None


def units_of(encoded: EncodedPrompt, choice: UnitsChoice, *, needed: bool = True) -> UnitMap:
    """The prompt's units of that kind; possibly empty unless `needed`.

    Raises:
        InvalidUnits: a segment is out of range or shares a token with another, or the prompt holds no unit.
    """
    pieces = _pieces(encoded)
    if isinstance(choice, Segments):
        candidates = _segments(choice, encoded)
        owners = _owners(encoded.text, pieces, candidates)
        _refuse_unclear(encoded.text, pieces, owners, candidates)
    elif choice == "token":
        homes = [(p, _region_of(p, encoded.regions)) for p in pieces]
        candidates = [_Candidate(p.start, p.end, home) for p, home in homes if home is not None]
        pieces = [p for p, home in homes if home is not None]
        owners = [[i] for i in range(len(pieces))]
    else:
        candidates = [c for region in encoded.regions for c in _cut(encoded.text, region, choice)]
        owners = _attach_space(encoded.text, pieces, _owners(encoded.text, pieces, candidates), encoded.regions)
    if needed and not any(owners):
        raise InvalidUnits.at("/units", "The prompt holds nothing but space, so there is no unit to explain it by.")
    return _assemble(encoded, pieces, candidates, owners)


def _pieces(encoded: EncodedPrompt) -> list[_Piece]:
    pieces: list[_Piece] = []
    waiting: list[int] = []
    for index, span in enumerate(encoded.spans):
        if span is None:
            continue
        start, end = span
        if start == end:
            waiting.append(index)  # a token without characters is grouped with the next one
        elif pieces and start < pieces[-1].end:
            pieces[-1].end = max(pieces[-1].end, end)
            pieces[-1].tokens += [*waiting, index]
            waiting = []
        else:
            pieces.append(_Piece(start, end, [*waiting, index]))
            waiting = []
    if waiting and pieces:
        pieces[-1].tokens += waiting
    return pieces


def _cut(text: str, region: Region, kind: UnitKind) -> Iterable[_Candidate]:
    cut = words if kind == "word" else sentences
    for start, end in cut(text[region.start : region.end]):
        yield _Candidate(region.start + start, region.start + end, region)


def words(text: str) -> list[Span]:
    """Words by Unicode's rules; a run of punctuation counts as a word."""
    found: list[Span] = []
    position = 0
    for part in _WORD_BOUNDARY.split(text):
        start, end = position, position + len(part)
        position = end
        if not part.strip():
            continue
        joins = found and found[-1][1] == start and _PUNCTUATION.fullmatch(part)
        if joins and _PUNCTUATION.fullmatch(text[found[-1][0] : found[-1][1]]):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def sentences(text: str) -> list[Span]:
    """Sentences, with abbreviations and CJK full stops recognized; a line break ends a sentence."""
    found = []
    for boundary in sentencex.get_sentence_boundaries("en", text):  # pyright: ignore[reportAttributeAccessIssue] - compiled
        span = _trimmed(text, boundary["start_index"], boundary["end_index"])
        if span is not None:
            found.append(span)
    return found


def _segments(choice: Segments, encoded: EncodedPrompt) -> list[_Candidate]:
    """The segments; one that lies within a message belongs to it."""
    text, candidates = encoded.text, []
    for index, segment in enumerate(choice.segments):
        start, end = segment[0], segment[1]
        if end > len(text):
            message = f"The segment ends at {end}, past the {len(text)} characters of the text."
            raise InvalidUnits.at(f"/units/segments/{index}", message)
        home = next((r for r in encoded.regions if r.start <= start and end <= r.end), None)
        candidates.append(_Candidate(start, end, home, segment[2] if len(segment) > 2 else None))
    return candidates


def _owners(text: str, pieces: list[_Piece], candidates: list[_Candidate]) -> list[list[int]]:
    """For each piece the candidates with which it shares non-space characters."""
    owner_at: dict[int, int] = {}
    for index, candidate in enumerate(candidates):
        for position in range(candidate.start, candidate.end):
            owner_at[position] = index
    owners = []
    for piece in pieces:
        inked = [p for p in range(piece.start, piece.end) if not text[p].isspace()] or range(piece.start, piece.end)
        owners.append(list(dict.fromkeys(owner_at[p] for p in inked if p in owner_at)))
    return owners


def _refuse_unclear(text: str, pieces: list[_Piece], owners: list[list[int]], candidates: list[_Candidate]) -> None:
    hint = "Move the border to a token's edge; infer/tokenize shows them."
    for piece, owning in zip(pieces, owners, strict=True):
        if len(owning) > 1:
            shared = f"Segments {owning[0]} and {owning[1]} share the token {text[piece.start : piece.end]!r}."
            raise InvalidUnits.at(f"/units/segments/{owning[1]}", shared, hint=hint)
    owned = {index for owning in owners for index in owning}
    for index, candidate in enumerate(candidates):
        if index not in owned:
            empty = f"No token lies in {text[candidate.start : candidate.end]!r}."
            raise InvalidUnits.at(f"/units/segments/{index}", empty, hint=hint)


def _attach_space(
    text: str, pieces: list[_Piece], owners: list[list[int]], regions: tuple[Region, ...]
) -> list[list[int]]:
    """Assigns whitespace tokens to the next unit of their region, or to its last one at the end."""
    attached = list(owners)
    homes = [_region_of(piece, regions) for piece in pieces]

    def neighbour(indices: Iterable[int], home: Region) -> list[int]:
        found = next((i for i in indices if owners[i] and homes[i] == home), None)
        return [] if found is None else owners[found][:1]

    for index, (piece, home) in enumerate(zip(pieces, homes, strict=True)):
        if owners[index] or home is None or text[piece.start : piece.end].strip():
            continue
        after = neighbour(range(index + 1, len(pieces)), home)
        attached[index] = after or neighbour(range(index - 1, -1, -1), home)
    return attached


def _assemble(
    encoded: EncodedPrompt, pieces: list[_Piece], candidates: list[_Candidate], owners: list[list[int]]
) -> UnitMap:
    leader = list(range(len(candidates)))  # candidates that share a piece become the unit of the first of them
    for owning in owners:
        for other in owning[1:]:
            leader[other] = leader[owning[0]]
    used = sorted({leader[i] for owning in owners for i in owning})
    place = {first: index for index, first in enumerate(used)}
    members: dict[int, list[_Candidate]] = {first: [] for first in used}
    for candidate, first in zip(candidates, leader, strict=True):
        if first in members:
            members[first].append(candidate)
    units = [_unit(encoded.text, members[first]) for first in used]
    unit_of_token: list[int | None] = [None] * len(encoded)
    special = [False] * len(units)
    for piece, owning in zip(pieces, owners, strict=True):
        for token in piece.tokens if owning else ():
            unit = place[leader[owning[0]]]
            unit_of_token[token] = unit
            special[unit] = special[unit] or encoded.special[token]
    flagged = tuple(u.model_copy(update={"special": s}) for u, s in zip(units, special, strict=True))
    return UnitMap(units=flagged, unit_of_token=tuple(unit_of_token))


def _unit(text: str, members: list[_Candidate]) -> Unit:
    start, end = members[0].start, members[-1].end
    start, end = _trimmed(text, start, end) or (start, end)
    home = members[0].region or Region(start, end)
    return Unit(text=text[start:end], start=start, end=end, name=members[0].name, role=home.role, message=home.message)


def _trimmed(text: str, start: int, end: int) -> Span | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _region_of(piece: _Piece, regions: tuple[Region, ...]) -> Region | None:
    return next((r for r in regions if r.start < piece.end and piece.start < r.end), None)
