"""How a request is validated: what many wrong entries cost is the first one's report."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from explaind.contract.registry import all_methods

ENTRIES = 2000


def lists_of(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") in {"list", "tuple", "set", "frozenset"}:
            yield schema
        for part in schema.values():
            yield from lists_of(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from lists_of(part)


@pytest.mark.parametrize("path", sorted(all_methods()))
def test_of_every_list_the_first_wrong_entry_is_the_only_one_reported(path: str) -> None:
    found = list(lists_of(all_methods()[path].params_model.__pydantic_core_schema__))
    assert found, "a webhook's ends are a list"
    assert all(each.get("fail_fast") for each in found)


@pytest.mark.parametrize(
    ("path", "fields", "first"),
    [
        ("train/tuned-lens", {"text": [0] * ENTRIES}, ("text", 0)),
        (
            "evaluate/questions",
            {"questions": {"questions": [{"question": "a", "answer": "b", "x": 1, "y": 2}] * ENTRIES}},
            ("questions", 0, "x"),
        ),
        ("explain/head-ablation", {"heads": [[0, 0]] * ENTRIES + [["a", "b"]] * ENTRIES}, ("heads", ENTRIES, 0)),
    ],
)
def test_many_wrong_entries_are_few_errors(path: str, fields: dict[str, Any], first: tuple[object, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        all_methods()[path].params_model.model_validate({"model": "demo", **fields})
    assert caught.value.error_count() <= 2
    where = [key for key in caught.value.errors()[0]["loc"] if not str(key).startswith("~")]
    assert [key for key in first if key not in where] == []
