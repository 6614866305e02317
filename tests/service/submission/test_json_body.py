"""What a JSON body holds is bounded before it is validated, and what a refusal costs with it."""

import json
from typing import Any

import pytest

from explaind.contract.errors import ExplaindError, MalformedBody
from explaind.contract.registry import all_methods
from explaind_service.errors import problems
from explaind_service.submission import json_body
from explaind_service.submission.json_body import parsed

JSON = {"Content-Type": "application/json"}
SHAP = {"model": "demo", "prompt": "a"}
# The most that one request may make the service look at and write about: 1.4 s were 80,000.
MOST_ERRORS = 2000


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def fields(count: int) -> dict[str, int]:
    return {f"x{number}": 1 for number in range(count)}


HOSTILE: dict[str, tuple[str, bytes]] = {
    "unknown fields": ("explain/shap", compact({**SHAP, **fields(80_000)})),
    "unknown fields, but fewer": ("explain/shap", compact({**SHAP, **fields(60_000)})),
    "a few too many": ("explain/shap", compact({**SHAP, **fields(255)})),
    "unknown fields below a field": ("explain/shap", compact({**SHAP, "target": fields(80_000)})),
    "unknown fields below an unknown one": ("explain/shap", compact({**SHAP, "x": fields(80_000)})),
    "many objects with a few": ("evaluate/questions", compact({"model": "demo", "x": [fields(8)] * 13_000})),
    "arrays": ("explain/shap", b'{"x":[' + b"[]," * 300_000 + b"[]]}"),
    "objects": ("explain/shap", b'{"messages":[' + b"{}," * 300_000 + b"{}]}"),
    "numbers": ("explain/shap", compact({**SHAP, "x": [0] * 400_000})),
    "empty texts": ("train/tuned-lens", compact({"model": "demo", "text": [""] * 300_000})),
    "a field for each object": ("explain/shap", compact({**SHAP, **{f"x{number}": {} for number in range(60_000)}})),
    "depth": ("explain/shap", b'{"x":' + b"[" * 500 + b"]" * 500 + b"}"),
    "very deep": ("explain/shap", b'{"x":' + b"[" * 500_000),
    "one name very often": ("explain/shap", b"{" + b'"x":1,' * 100_000 + b'"x":1}'),
    "digits": ("explain/shap", compact({**SHAP}).replace(b"}", b',"seed":' + b"9" * 5000 + b"}")),
    "digits of a fraction": ("explain/shap", compact({**SHAP}).replace(b"}", b',"seed":0.' + b"1" * 900_000 + b"}")),
    "digits in a text": ("explain/shap", compact({**SHAP, "seed": "9" * 900_000})),
    "another encoding": ("explain/shap", json.dumps({**SHAP, **fields(80_000)}).encode("utf-16-le")[:1_000_000]),
    "quotes that are not closed": ("explain/shap", b'{"' + b'\\"' * 500_000),
}
MANY_ERRORS: dict[str, tuple[str, Any]] = {
    "questions": ("evaluate/questions", {"questions": {"questions": [{"x": 1, "y": 2}] * 10_000}}),
    "texts": ("train/tuned-lens", {"text": [0] * 10_000}),
    "heads": ("explain/head-ablation", {"heads": [["a", "b"]] * 20_000}),
    "token ids": ("explain/shap", {"prompt": "a", "target": {"token_ids": [-1] * 1000}}),
    "messages": ("explain/shap", {"messages": [{"role": "x", "content": 1, **fields(100)}] * 200}),
    "everything": ("explain/shap", {name: fields(250) for name in ("target", "foil", "units", "baseline", "metadata")}),
}


@pytest.fixture
def errors_found(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many errors validation has found, by request."""
    found: list[int] = []
    error_of_validation = problems.error_of_validation

    def counted(error, path):
        found.append(len(error.errors()))
        return error_of_validation(error, path)

    monkeypatch.setattr(problems, "error_of_validation", counted)
    return found


@pytest.mark.parametrize("prefix", ["", "estimate/"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_body_of_very_many_things_costs_little(client, errors_found: list[int], name: str, prefix: str) -> None:
    path, body = HOSTILE[name]
    response = await client.post(f"/{prefix}{path}", content=body, headers=JSON)
    assert response.status_code in {400, 422}, response.text
    problem = response.json()
    assert problem["code"] in {"malformed_body", "invalid_request"}
    assert problem["hint"]
    assert len(response.content) < 20_000
    assert sum(errors_found) <= 2


@pytest.mark.parametrize("name", MANY_ERRORS)
async def test_what_is_validated_has_few_errors(client, errors_found: list[int], name: str) -> None:
    path, changes = MANY_ERRORS[name]
    response = await client.post(f"/{path}", content=compact({"model": "demo", **changes}), headers=JSON)
    assert response.status_code == 422
    assert 1 <= len(response.json()["errors"]) <= 32
    assert errors_found[0] <= MOST_ERRORS


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        (
            "evaluate/questions",
            {
                "questions": {
                    "questions": [
                        {"question": "1:,[{", "answer": "a", "foil": "b", "kind": "c", "name": "d", "steps": ["1"]}
                    ]
                    * 10_000
                }
            },
        ),
        ("train/tuned-lens", {"text": ['[{"a": 1, ' * 8] * 10_000}),
        ("explain/head-ablation", {"heads": [[number // 100, number % 100] for number in range(20_000)]}),
        ("explain/logit-lens", {"prompt": "a", "positions": list(range(100_000))}),
        ("infer/score", {"prompt": '[{"a": 1, "b": [] }],' * 9000, "target": "a"}),
    ],
)
def test_the_largest_requests_that_there_are_are_read(path: str, changes: dict[str, Any]) -> None:
    body = {"model": "demo", **changes}
    assert parsed(compact(body)) == body
    all_methods()[path].params_model.model_validate(body)


def test_bodies_of_few_things_are_parsed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of Python's for each of the objects of most requests, nor a second look at their texts."""
    monkeypatch.setattr(json_body, "_narrow", lambda pairs: pytest.fail("It was looked at."))
    monkeypatch.setattr("explaind_jobs.json_structure._TEXTS", None)
    for method in all_methods().values():
        assert parsed(compact(method.example)) == json.loads(compact(method.example))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"])
def test_other_encodings_are_not_parsed(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """What is counted in them is not what the parser would find."""
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("It was parsed."))
    with pytest.raises(MalformedBody, match="UTF-16"):
        parsed(json.dumps(SHAP).encode(encoding))


def test_a_refusal_says_what_there_was_too_much_of() -> None:
    said = {}
    for name in ("a few too many", "unknown fields", "arrays", "numbers", "depth"):
        with pytest.raises(ExplaindError) as caught:
            parsed(HOSTILE[name][1])
        said[name] = caught.value.detail
    assert said == {
        "a few too many": "An object in the body has more than 256 fields.",
        "unknown fields": "The body holds more than 65536 names in objects.",
        "arrays": "The body holds more than 50000 objects and arrays.",
        "numbers": "The body holds more than 150000 values.",
        "depth": "The body is nested too deeply.",
    }
