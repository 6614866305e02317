"""Counts what a JSON text holds before it is parsed: parsing, and above all validating, costs by the value."""

import re
from dataclasses import dataclass
from itertools import accumulate

# Text in quotes, or what there is of it where the closing quote is missing: no byte is looked at twice.
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", -1)}
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


@dataclass(frozen=True, slots=True)
class JsonStructure:
    """How much a text holds at most: `names` of all its objects, `values` of every kind, `containers` (objects and
    arrays), and the `depth` of the innermost of them.
    """

    names: int
    values: int
    containers: int
    depth: int

    def within(self, most: "JsonStructure") -> bool:
        """Whether each number is at most the one of `most`."""
        return (
            self.names <= most.names
            and self.values <= most.values
            and self.containers <= most.containers
            and self.depth <= most.depth
        )


def rough_structure(text: bytes) -> JsonStructure:
    """An upper bound of everything, at the speed of memory: what stands inside of texts is counted, too."""
    containers = text.count(b"[") + text.count(b"{")
    return JsonStructure(text.count(b":"), text.count(b",") + containers + 1, containers, containers)


def structure_of(text: bytes, most: JsonStructure) -> JsonStructure:
    """What the text holds: exact where that is within `most`, else with a number over it, soon found."""
    rough = rough_structure(text)
    if rough.within(most):
        return rough
    texts_allowed = most.names + most.values
    bare, texts = _TEXTS.subn(b"", text, count=texts_allowed + 1)
    if texts > texts_allowed:
        return JsonStructure(rough.names, max(rough.values, texts), rough.containers, 0)
    found = rough_structure(bare)
    brackets = bare.translate(None, _NOT_BRACKETS)[: 2 * most.containers + 1]
    depth = max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
    return JsonStructure(found.names, found.values, found.containers, depth)
