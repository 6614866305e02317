"""Groups of units: the units that make up each larger unit of a prompt."""

from collections.abc import Iterator, Sequence

from explaind.contract.blocks.units import UNIT_KINDS, Segments, UnitKind
from explaind.contract.blocks.units import Units as UnitsChoice
from explaind.contract.errors import InvalidUnits
from explaind_worker.engine.scoring.units import UnitMap, units_of
from explaind_worker.models.text.tokenizer import EncodedPrompt


def coarser_groups(encoded: EncodedPrompt, choice: UnitsChoice, unit_map: UnitMap) -> dict[UnitKind, list[list[int]]]:
    """For each kind coarser than `choice` its units, as indices in `unit_map` of the units they contain.

    Every unit is in one group of each kind, and finer groups are nested in coarser ones: coarse units that share a
    finer unit (two sentences without a space between them) are merged. Segments have no groups.
    """
    if isinstance(choice, Segments):
        return {}
    groups: dict[UnitKind, list[list[int]]] = {}
    leader = list(range(len(unit_map)))
    for kind in UNIT_KINDS[UNIT_KINDS.index(choice) + 1 :]:
        try:
            coarse = units_of(encoded, kind)
        except InvalidUnits:  # whitespace only: tokens, but no words
            break
        for held in _held(unit_map, coarse):
            _unite(leader, held)
        groups[kind] = _by_leader(leader)
    return groups


def _held(fine: UnitMap, coarse: UnitMap) -> Iterator[list[int]]:
    """For each coarse unit the fine units with which it shares a token."""
    held: list[dict[int, None]] = [{} for _ in coarse.units]
    for inner, outer in zip(fine.unit_of_token, coarse.unit_of_token, strict=True):
        if inner is not None and outer is not None:
            held[outer][inner] = None
    for members in held:
        yield list(members)


def _unite(leader: list[int], members: Sequence[int]) -> None:
    if not members:
        return
    found = [_first(leader, member) for member in members]
    for other in found:
        leader[other] = min(found)


def _first(leader: list[int], member: int) -> int:
    while leader[member] != member:
        leader[member] = leader[leader[member]]
        member = leader[member]
    return member


def _by_leader(leader: list[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for member in range(len(leader)):
        groups.setdefault(_first(leader, member), []).append(member)
    return list(groups.values())
