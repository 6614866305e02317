"""Counts the values of a JSON text before it is parsed: parsing, and above all validating, costs time per value."""

import re
from dataclasses import dataclass
from itertools import accumulate

# Quoted text, or its beginning where the closing quote is missing; possessive, so each byte is scanned once.
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", -1)}
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


@dataclass(frozen=True, slots=True)
class JsonStructure:
    """Size of a JSON text: `names` in all objects, `values` of every kind, `containers` (objects and arrays), and the
    `depth` of the innermost container.
    """

    names: int
    values: int
    containers: int
    depth: int

    def within(self, most: "JsonStructure") -> bool:
        """Whether no number exceeds that of `most`."""
        return (
            self.names <= most.names
            and self.values <= most.values
            and self.containers <= most.containers
            and self.depth <= most.depth
        )


def rough_structure(text: bytes) -> JsonStructure:
    """An upper bound, at memory speed: delimiters inside strings are counted, too."""
    containers = text.count(b"[") + text.count(b"{")
    return JsonStructure(text.count(b":"), text.count(b",") + containers + 1, containers, containers)


def structure_of(text: bytes, most: JsonStructure) -> JsonStructure:
    """The structure of the text: exact if within `most`; otherwise counting stops once a number exceeds it."""
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
