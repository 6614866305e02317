"""Bodies that are no request: each is refused with a problem, within seconds, whatever it would unpack to."""

import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.problem_checks import check_answer, check_problem

JSON = {"Content-Type": "application/json"}
PATH = "/infer/score"
RIGHT = json.dumps({"model": "demo", "prompt": "3 + 4 =", "target": " 7"})
MIB = 1024 * 1024

# Read as JSON or not, none of these is a request.
REFUSED = {
    "empty": b"",
    "space": b" \n\t ",
    "array": b"[]",
    "string": b'"demo"',
    "number": b"1e309",
    "null": b"null",
    "deep arrays": b"[" * 500_000,
    "deep arrays, closed": b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep in a known field": b'{"model": "demo", "prompt": "a", "target": ' + b'{"text":' * 900 + b"1" + b"}" * 901,
    "huge integer": b'{"model": "demo", "prompt": "a", "target": "b", "top_logprobs": ' + b"9" * 4000 + b"}",
    "huger integer": b'{"model": "demo", "prompt": "a", "target": "b", "top_logprobs": ' + b"9" * 400_000 + b"}",
    "huge exponent": b'{"model": "demo", "prompt": "a", "target": "b", "timeout_s": 1e999999999}',
    "long fraction": b'{"model": "demo", "prompt": "a", "target": "b", "top_logprobs": 0.' + b"1" * 100_000 + b"}",
    "NaN": b'{"model": "demo", "prompt": "a", "target": "b", "timeout_s": NaN}',
    "Infinity": b'{"model": "demo", "prompt": "a", "target": "b", "timeout_s": Infinity}',
    "-Infinity": b'{"model": "demo", "prompt": "a", "target": "b", "timeout_s": -Infinity}',
    "UTF-16": RIGHT.encode("utf-16"),
    "UTF-16, no mark": RIGHT.encode("utf-16-le"),
    "UTF-32": RIGHT.encode("utf-32"),
    "Latin-1": '{"model": "demo", "prompt": "é", "target": "b"}'.encode("latin-1"),
    "overlong UTF-8": b'{"model": "demo", "prompt": "\xc0\xaf", "target": "b"}',
    "surrogate as UTF-8": b'{"model": "demo", "prompt": "\xed\xa0\x80", "target": "b"}',
    "lone surrogate": rb'{"model": "demo", "prompt": "\ud800", "target": "b"}',
    "lone surrogate as a name": rb'{"model": "demo", "prompt": "a", "target": "b", "\udc00": 1}',
    "lone surrogate in metadata": rb'{"model": "demo", "prompt": "a", "target": "b", "metadata": {"\ud83d": "x"}}',
    "lone surrogate as a value": rb'{"model": "demo", "prompt": "a", "target": "b", "metadata": {"x": "\ud83d"}}',
    "two values": RIGHT.encode() * 2,
    "comments": b'{"model": "demo" /* the model */}',
    "a comma too many": b'{"model": "demo", "prompt": "a", "target": "b",}',
    "raw line feed": b'{"model": "demo", "prompt": "a\nb", "target": "b"}',
    "gzip": gzip.compress(RIGHT.encode()),
    "XML": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "form": b"model=demo&prompt=a&target=b",
    "1 MiB and 1": RIGHT.encode().ljust(MIB + 1),
    "10^5 fields": json.dumps({f"x{i}": i for i in range(100_000)}).encode()[: MIB - 1],
    "10^5 fields, whole": json.dumps({f"{i:x}": 0 for i in range(90_000)}).encode(),
    "one long name": b'{"model": "demo", "prompt": "a", "target": "b", "' + b"Q" * 900_000 + b'": 1}',
    "long names": json.dumps({"Q" * (9000 + i): 1 for i in range(100)}).encode(),
    "a long name in metadata": json.dumps({"model": "demo", "metadata": {"Q" * 900_000: 1}}).encode(),
    "a long value": json.dumps({"model": "demo", "prompt": "a", "target": "b", "units": "Q" * 900_000}).encode(),
    "a long tag": json.dumps({"model": "demo", "prompt": "a", "target": {"Q" * 900_000: 1}}).encode(),
    "a long model": json.dumps({"model": "Q" * 900_000, "prompt": "a", "target": "b"}).encode(),
    "a long webhook": json.dumps({"model": "demo", "prompt": "a", "target": "b", "webhook": "Q" * 900_000}).encode(),
}

# A thousand times as large as it looks.
BOMB = gzip.compress(RIGHT.encode() + b" " * (50 * MIB))


@pytest.mark.timeout(60)
async def test_no_requests(client) -> None:
    for name, body in REFUSED.items():
        began = time.monotonic()
        response = await client.post(PATH, content=body, headers=JSON)
        assert response.status_code in {400, 413, 422}, name
        check_problem(response)
        assert time.monotonic() - began < 5, name
    assert (await client.get("/jobs")).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/explain/shap", {"target": {"labels": ["a", "b"], "explain": "Q" * 19_000}}),
        ("/explain/shap", {"target": {"labels": ["a", "b"], "explain": "a", "Q" * 9000: 1}}),
        ("/explain/shap", {"units": {"segments": [[0, 1, "Q" * 9000]]}}),
        ("/explain/shap", {"units": {"segments": [[10**4000, 1]]}}),
        ("/explain/shap", {"units": {"segments": [[0, 1, "a"], ["Q" * 9000]]}}),
        ("/explain/shap", {"baseline": {"text": "Q" * 9000}}),
        ("/infer/score", {"messages": [{"role": "Q" * 9000, "content": "a"}], "prompt": None, "target": "b"}),
        ("/infer/score", {"target": "b", "webhook": "https://" + "Q" * 1900 + ".example/"}),
        ("/infer/score", {"target": "b", "webhook": {"url": "https://[" + "Q" * 1900}}),
        ("/infer/score", {"target": "b", "webhook": {"url": "https://a.example:" + "9" * 1900}}),
        ("/infer/score", {"target": "b", "webhook": {"url": "https://a.example/", "events": ["Q" * 9000]}}),
        ("/infer/score", {"target": "b", "metadata": {"a": "Q" * 9000}}),
        ("/infer/score", {"target": "b", "metadata": {"Q" * 9000: "a"}}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_fields_that_are_not_right_are_not_repeated(client, path: str, fields: dict[str, Any]) -> None:
    response = await client.post(path, json={"model": "demo", "prompt": "a b c", **fields})
    assert response.status_code == 422
    check_problem(response)


async def test_the_last_of_two_fields_counts(client, store) -> None:
    body = b'{"model": "nope", "prompt": "first", "target": "b", "prompt": "last", "model": "demo"}'
    response = await client.post(PATH, content=body, headers=JSON)
    assert response.status_code == 202
    claim = store.claim("w@test", ["default"])
    assert json.loads(claim.request)["prompt"] == "last"


async def test_a_mark_of_utf8_is_no_harm(client) -> None:
    response = await client.post(PATH, content=b"\xef\xbb\xbf" + RIGHT.encode(), headers=JSON)
    assert response.status_code in {202, 400}
    check_answer(response)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "Q" * 2000])
async def test_a_packed_body_is_not_unpacked(client, encoding: str) -> None:
    response = await client.post(PATH, content=BOMB, headers={**JSON, "Content-Encoding": encoding})
    assert response.status_code in {400, 415}
    check_problem(response)


async def test_a_body_without_end_is_cut_off(client) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MIB:
            sent += 65536
            yield b"[" * 65536

    response = await client.post(PATH, content=endless(), headers=JSON)
    assert response.status_code == 413
    check_problem(response)
    assert sent < 2 * MIB


async def test_strings_of_a_thousand_kinds(client, request_of) -> None:
    for point in (*range(0x20), 0x7F, 0x85, 0x200B, 0x202E, 0x2028, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10FFFF):
        text = f"a{chr(point)}b"
        response = await client.post(PATH, json=request_of(prompt=text, target=text, metadata={text: text}))
        assert response.status_code == 202, hex(point)
        assert response.json()["metadata"] == {text: text}
