"""Texts that break tokenizers, through the worker's own code on the demo model: no crash, and right offsets."""

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from explaind.contract.errors import RequestError
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session

FAMILY = "👩‍👩‍👧‍👦"
TEXTS = {
    "special tokens": "<s></s><pad><mask><unk><|user|><|assistant|>",
    "special tokens in words": "The <mask> was <s>great</s><|assistant|> yes",
    "nearly special tokens": "<s</s <|user| |assistant|> < s > <PAD>",
    "a template": "{{ bos_token }}{% for m in messages %}{{ raise_exception('x') }}{% endfor %}",
    "one space": " ",
    "spaces": "   \t \n\n \r\n  ",
    "spaces of other kinds": "\u00a0\u2003\u2028\u2029\u3000\u200b\ufeff",
    "NUL": "a\0b\0\0c",
    "controls": "".join(map(chr, range(1, 0x20))) + "\x7f\x80\x9f",
    "bidi": "a \u202eb c\u202c \u2066d\u2069 e\u200f f",
    "Hebrew and Latin": "שלום world עולם",
    "combining": "e\u0301" * 30 + " " + "a" + "\u0300" * 100,
    "zalgo": "Z\u0351\u036b\u0343a\u0363\u0360l\u0308\u0364g\u0328o\u031b",
    "emoji": f"{FAMILY} a {FAMILY}{FAMILY} 👍🏽 🏳️‍🌈 🇩🇪🇫🇷 5️⃣",
    "joiners alone": "\u200d\u200d a\u200db \ufe0f",
    "half an emoji family": FAMILY[:3] + " " + FAMILY[2:],
    "regional indicators": "🇩" * 7,
    "beyond the basic plane": "𝔸𝟘𠀀\U0010ffff\U000e0001",
    "not characters": "\ufffe\uffff\ufffd\U0001fffe",
    "private": "\ue000\uf8ff\U000f0000",
    "lookalikes": "Ｔｈｅ ｆооd wаs grеаt",
    "ligatures": "ﬁ ﬀ ĳ ß ſ İ ı",
    "Thai": "ฉันรักคุณมากที่สุดในโลก",
    "Chinese": "食物很好吃。服务很差！",
    "Devanagari": "क्षत्रिय नमस्ते",
    "Hangul, apart": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "punctuation": "!!!???...---___***(((" * 5,
    "apostrophes": "don't ’tis rock'n'roll O''Neill '' '",
    "digits": "0123456789" * 12,
    "digits of other kinds": "٣٤ १२ ²³ ⅷ ①",
    "one letter": "a",
    "one long word": "a" * 300,
    "line feeds": "\n".join("abc"),
    "a path": "../../etc/passwd\\..\\",
    "markup": "<script>alert('x')</script>&amp;&#0;",
    "escapes": r"\u0000 \ud800 \n %s %n $(id) `id` ${x}",
    "one sentence end": ". . . ! ? 。",
    "abbreviations": "Dr. A. B. C. e.g. i.e. vs. etc... No. 5.",
}
each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


@pytest.fixture(scope="module")
def pool() -> ModelPool:
    return ModelPool()


@pytest.fixture
def run(pool: ModelPool) -> Callable[..., Any]:
    """Runs a method on the demo model; a refusal is one of the contract's."""

    def run_method(path: str, **params: Any) -> Any:
        method = find_method(path)
        request = method.params_model.model_validate({"model": "demo", **params})
        with Session(DEMO, pool, lambda *_: None) as session:
            return implementation_of(method)(request, session)

    return run_method


def refusal_of(call: Callable[[], Any]) -> tuple[Any, RequestError | None]:
    """What came of it: a result, or why the request is at fault."""
    try:
        return call(), None
    except RequestError as error:
        return None, error


@each_text
@pytest.mark.parametrize("units", ["token", "word", "sentence"])
def test_offsets(run, text: str, units: str) -> None:
    found, refusal = refusal_of(lambda: run("infer/tokenize", prompt=text, units=units))
    if refusal is not None:
        assert refusal.code in {"prompt_too_long", "invalid_units"}
        assert units != "token" or refusal.code == "prompt_too_long" or not text.strip()
        return
    assert found.prompt == text
    covered = [False] * len(text)
    for token in found.tokens:
        if token.start is not None:
            assert 0 <= token.start <= token.end <= len(text)
            assert token.text == text[token.start : token.end]
            covered[token.start : token.end] = [True] * (token.end - token.start)
    assert all(covered[i] for i, char in enumerate(text) if not char.isspace()), "characters that no token covers"
    for before, after in zip(found.units, found.units[1:], strict=False):
        assert before.end <= after.start
    for unit in found.units:
        assert 0 <= unit.start < unit.end <= len(text)
        assert unit.text == text[unit.start : unit.end]
        assert units == "token" or unit.text.strip()
    assert {token.unit for token in found.tokens} - {None} <= set(range(len(found.units)))


@each_text
def test_scores(run, text: str) -> None:
    found, refusal = refusal_of(lambda: run("infer/score", prompt=text, target=" yes", prompt_logprobs=True))
    if refusal is None:
        assert math.isfinite(found.logprob)
        assert found.prompt == text
    found, refusal = refusal_of(lambda: run("infer/score", prompt="The food was", target=text, top_logprobs=3))
    if refusal is None:
        assert math.isfinite(found.logprob)


@each_text
@pytest.mark.parametrize("units", ["token", "word"])
def test_attributions(run, text: str, units: str) -> None:
    asked = {"prompt": text, "target": " yes", "units": units, "budget": 40, "seed": 1}
    found, refusal = refusal_of(lambda: run("explain/shap", **asked))
    if refusal is None:
        assert len(found.values) == len(found.units) > 0
        assert all(math.isfinite(value) for value in found.values)
        assert [unit.text for unit in found.units] == [text[unit.start : unit.end] for unit in found.units]


@each_text
@pytest.mark.parametrize("role", ["user", "system"])
def test_chats(run, text: str, role: str) -> None:
    messages = [{"role": role, "content": text}, {"role": "user", "content": text}]
    found, refusal = refusal_of(lambda: run("infer/tokenize", messages=messages))
    if refusal is None:
        for unit in found.units:
            assert unit.text == found.prompt[unit.start : unit.end]
            assert unit.role in {"user", "system", "assistant", None}


@each_text
def test_stops_and_stand_ins(run, text: str) -> None:
    refusal_of(lambda: run("infer/generate", prompt="3 + 4 =", max_new_tokens=3, stop=[text[:200]]))
    refusal_of(lambda: run("explain/feature-ablation", prompt="3 + 4 =", target=" 7", baseline={"text": text}))


@pytest.mark.parametrize("cut", range(1, len(FAMILY)))
def test_segments_that_cut_an_emoji(run, cut: int) -> None:
    text = f"a {FAMILY} b"
    segments = {"segments": [[0, 2 + cut], [2 + cut, len(text)]]}
    found, refusal = refusal_of(lambda: run("explain/feature-ablation", prompt=text, target=" yes", units=segments))
    if refusal is None:
        assert [(unit.start, unit.end) for unit in found.units] == [(0, 2 + cut), (2 + cut, len(text))]
    else:
        assert refusal.code == "invalid_units"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a " * 100_000,
        " " * 200_000,
        FAMILY * 28_000,
        "\n" * 200_000,
        "." * 200_000,
        "<s>" * 66_000,
        "é" * 200_000,
        "\u0301" * 200_000,
        "1" * 200_000,
        "שלום " * 40_000,
    ],
    ids=lambda t: ascii(t[:4]),
)
@pytest.mark.parametrize("path", ["infer/tokenize", "explain/shap"])
@pytest.mark.timeout(60)
def test_the_longest_prompts_are_refused_soon(run, path: str, text: str) -> None:
    began = time.monotonic()
    asked = {"prompt": text} if path == "infer/tokenize" else {"prompt": text, "target": " yes"}
    _, refusal = refusal_of(lambda: run(path, **asked))
    assert refusal is not None
    assert refusal.code == "prompt_too_long"
    assert len(refusal.detail) < 500
    assert time.monotonic() - began < 20
