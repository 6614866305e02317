"""Regroups an attribution into larger units, and a chat's into messages, by summing its values."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from explaind.contract.blocks.units import UNIT_KINDS, MessageShare, Unit, UnitKind
from explaind.contract.errors import InvalidUnits

if TYPE_CHECKING:
    from explaind.contract.blocks.attribution_result import Attribution

# Fields about the whole result rather than single units; all others are summed or dropped.
_OF_THE_WHOLE = frozenset(
    {
        "kind",
        "prompt",
        "base_value",
        "full_value",
        "completeness_gap",
        "score",
        "target",
        "foil",
        "labels",
        "baseline",
        "algorithm",
        "evaluations",
        "notes",
        "fast",
        "stopped",
    }
)


def kinds_of(attribution: "Attribution") -> list[UnitKind]:
    """The unit kinds available for the result, its own first, from fine to coarse."""
    own: list[UnitKind] = [kind for kind in UNIT_KINDS if kind == attribution.unit_kind]
    return own + [kind for kind in UNIT_KINDS if kind not in own and _is_partition(attribution, kind)]


def regrouped(attribution: "Attribution", kind: UnitKind) -> "Attribution":
    """The result by units of that kind, each value a sum over the units contained; itself if these are its own.

    Raises:
        InvalidUnits: the result has no units of that kind.
    """
    if kind == attribution.unit_kind:
        return attribution
    held = kinds_of(attribution)
    if kind not in held:
        raise InvalidUnits.at("/units", _why_not(attribution, kind), hint=_what_instead(held))
    groups = attribution.groups[kind]
    units = [_joined(attribution.prompt, [attribution.units[i] for i in group]) for group in groups]
    values = [math.fsum(attribution.values[i] for i in group) for group in groups]
    columns = [_added([attribution.values_by_target[i] for i in group]) for group in groups]
    changed = {
        name: field.get_default(call_default_factory=True)
        for name, field in type(attribution).model_fields.items()
        if name not in _OF_THE_WHOLE and not field.is_required()
    }
    if attribution.by_message is not None:
        shares = shares_of_messages(units, values, [share.role for share in attribution.by_message])
        changed |= {"by_message": shares, "by_role": shares_of_roles(shares)}
    placed = [text.model_copy(update={"units": []}) for text in attribution.baseline.placed]
    changed |= {
        "baseline": attribution.baseline.model_copy(update={"placed": placed}),
        "units": units,
        "values": values,
        "values_by_target": columns,
        "unit_kind": kind,
        "groups": _groups_of_groups(attribution, kind, held),
        "summed_from": attribution.summed_from or attribution.unit_kind,
    }
    return attribution.model_copy(update=changed)


def shares_of_messages(units: Sequence[Unit], values: Sequence[float], roles: Sequence[str]) -> list[MessageShare]:
    """One share per message of these roles, in order; units that span messages are left out."""
    held: list[list[int]] = [[] for _ in roles]
    for index, unit in enumerate(units):
        if unit.message is not None:
            held[unit.message].append(index)
    return [
        MessageShare(index=index, role=role, value=math.fsum(values[i] for i in members), units=members)
        for index, (role, members) in enumerate(zip(roles, held, strict=True))
    ]


def shares_of_roles(shares: Sequence[MessageShare]) -> dict[str, float]:
    """The messages' values summed by role, in order of the roles' first messages."""
    roles = dict.fromkeys(share.role for share in shares)
    return {role: math.fsum(share.value for share in shares if share.role == role) for role in roles}


def _is_partition(attribution: "Attribution", kind: UnitKind) -> bool:
    groups = attribution.groups.get(kind, [])
    return sorted(chain.from_iterable(groups)) == list(range(len(attribution.units))) and all(groups)


def _added(rows: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(column) for column in zip(*rows, strict=True)]


def _joined(prompt: str, members: Sequence[Unit]) -> Unit:
    """One unit spanning the characters of its members."""
    start, end = min(unit.start for unit in members), max(unit.end for unit in members)
    text = prompt[start:end].strip()
    if text:
        start = prompt.index(text, start)
        end = start + len(text)
    return Unit(
        text=text or prompt[start:end] or members[0].text,
        start=start,
        end=end,
        role=members[0].role,
        message=members[0].message,
        special=any(unit.special for unit in members),
    )


def _groups_of_groups(
    attribution: "Attribution", kind: UnitKind, held: Sequence[UnitKind]
) -> dict[UnitKind, list[list[int]]]:
    """Groups of the coarser kinds, as indices of the units of `kind`."""
    place = {member: index for index, group in enumerate(attribution.groups[kind]) for member in group}
    coarser = {}
    for other in held[held.index(kind) + 1 :]:
        groups = [sorted({place[member] for member in group}) for group in attribution.groups[other]]
        if sum(map(len, groups)) == len(attribution.groups[kind]):  # a unit that lies in two groups cannot be summed
            coarser[other] = groups
    return coarser


def _why_not(attribution: "Attribution", kind: UnitKind) -> str:
    if attribution.unit_kind == "segments":
        return "The result is by segments of the caller's own, which are no parts of tokens, words or sentences."
    if attribution.unit_kind is None:
        return "The result does not say what its units are, nor which larger ones they make up."
    finer = UNIT_KINDS.index(kind) < UNIT_KINDS.index(attribution.unit_kind)
    if finer:
        return f"The result is by {attribution.unit_kind}s: what was explained as one cannot be parted into {kind}s."
    return f"The result does not hold which {attribution.unit_kind}s make up a {kind}."


def _what_instead(held: Sequence[UnitKind]) -> str:
    shown = f"It can be shown by {', '.join(held)}. " if len(held) > 1 else ""
    return f'{shown}Explain by the finest units you want to see (units "token") and regroup from there.'
