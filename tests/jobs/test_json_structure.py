"""What a JSON text holds is told before it is parsed, and never less than there is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explaind_jobs.json_structure import JsonStructure, rough_structure, structure_of

NONE = JsonStructure(0, 0, 0, 0)
MANY = JsonStructure(1000, 1000, 1000, 1000)
TEXTS = st.text(alphabet='a"\\\\[]{},: é\n', max_size=6)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


def held(value: Any) -> JsonStructure:
    match value:
        case dict() | list():
            parts = [held(part) for part in (value.values() if isinstance(value, dict) else value)]
            return JsonStructure(
                (len(value) if isinstance(value, dict) else 0) + sum(part.names for part in parts),
                1 + sum(part.values for part in parts),
                1 + sum(part.containers for part in parts),
                1 + max((part.depth for part in parts), default=0),
            )
        case _:
            return JsonStructure(0, 1, 0, 0)


@given(value=VALUES, ascii=st.booleans(), indent=st.none() | st.just(1))
def test_it_is_never_less_than_what_is_parsed(value: Any, ascii: bool, indent: int | None) -> None:
    text, true = json.dumps(value, ensure_ascii=ascii, indent=indent).encode(), held(value)
    assert true.within(rough_structure(text))
    # Nothing is as flat as this, so that it is counted exactly.
    exact = structure_of(text, JsonStructure(1000, 1000, 1000, -1))
    assert (exact.names, exact.containers, exact.depth) == (true.names, true.containers, true.depth)
    assert true.values <= exact.values <= true.values + true.containers + 1
    assert structure_of(text, MANY).within(MANY)


@pytest.mark.parametrize(
    "text",
    [
        b'"' * 100_001,
        b'{"a": "' + b'\\"' * 500_000,
        b'"\\' * 100_000,
        b'["' + b'","' * 300_000,
        b"[" * 1_000_000,
        b"[]," * 300_000,
    ],
    ids=lambda text: text[:12].decode(),
)
def test_text_that_is_none_is_counted_in_one_pass(text: bytes) -> None:
    """Quotes that are never closed must not be looked for from each place anew: that would take minutes."""
    assert not structure_of(text, NONE).within(NONE)
