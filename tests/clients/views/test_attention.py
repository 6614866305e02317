"""Logit attributions and attention patterns as pictures: in the report, the notebook and the terminal."""

import re
from typing import Any

import pytest

from explaind.contract.blocks.attribution_result import ScoredText, ScoredToken
from explaind.contract.methods.explain.attention import (
    AttentionPatterns,
    HeadLabel,
    HeadPattern,
    HeadScores,
    ProbeScores,
)
from explaind.contract.methods.explain.logit_attribution import (
    Contributions,
    LogitAttribution,
    TokenContributions,
    strongest,
)
from explaind.views.attention import MOST_DRAWN, MOST_TOKENS, pattern_grid

HOSTILE = "</style><script>alert(1)</script>\x1b[31m"


def contributions(**fields: Any) -> dict[str, Any]:
    parts = {
        "embed": 0.25,
        "pos_embed": -0.5,
        "heads": [[1.0, -2.0], [0.0, 4.0]],
        "attention_bias": [0.125, 0.0],
        "mlp_out": [0.5, -1.0],
        "bias": 0.25,
    }
    return parts | fields


def scored(text: str) -> ScoredText:
    return ScoredText(text=text, tokens=[ScoredToken(text=text, id=7, logprob=-0.5)])


@pytest.fixture
def logit():
    def make(prompt: str = "Mary and", target: str = " John", **fields: Any) -> LogitAttribution:
        parts = contributions()
        column = TokenContributions(**parts, text=target, id=7, sign=1, logit=2.625, gap=0.0)
        made = {
            "prompt": prompt,
            "target": scored(target),
            "foil": scored(" Mary"),
            "logit": 2.625,
            "gap": 0.0,
            "ranking": strongest(Contributions(**parts).components, 5),
            "by_target": [column, column.model_copy(update={"sign": -1})],
        }
        return LogitAttribution(**{**parts, **made, **fields})

    return make


@pytest.fixture
def attention():
    def make(tokens: tuple[str, ...] = ("<s>", "Mary", " and", " Mary"), heads: int = 1) -> AttentionPatterns:
        count = len(tokens)
        weights = [[0.9, *[0.1 / i] * i] if i else [1.0] for i in range(count)]
        scores = [[0.1, 0.7]]
        return AttentionPatterns(
            prompt="".join(tokens),
            tokens=list(tokens),
            token_ids=list(range(count)),
            sinks=[0],
            queries=list(range(count)),
            patterns=[HeadPattern(layer=0, head=1, labels=["induction"], weights=weights)] * heads,
            scores=HeadScores(
                previous_token=scores,
                first_token=[[0.9, 0.9]],
                current_token=scores,
                sink=[[0.9, 0.9]],
                entropy=[[0.0, 1.2]],
            ),
            probe=ProbeScores(tokens=9, seed=0, previous_token=scores, duplicate_token=scores, induction=scores),
            threshold=0.4,
            labels=[HeadLabel(layer=0, head=1, label="induction", score=0.7)],
            notes=["Patterns are those of the last 4."],
        )

    return make


def test_sums_and_ranking_follow_from_the_parts():
    parts = Contributions(**contributions())
    assert parts.layers == [-0.375, 3.0]
    assert parts.accumulated == [0.0, -0.375, 2.625]
    assert sum(component.value for component in parts.components) == 2.625
    names = [component.name for component in strongest(parts.components, 4)]
    assert names == ["L1H1", "L0H1", "L0H0", "L1 MLP"]
    assert {"embedding", "position embedding", "L0 attention bias", "bias"} <= {c.name for c in parts.components}
    assert "L1H0" not in [component.name for component in strongest(parts.components, 99)], "it adds nothing"


def test_a_logit_attribution_has_a_grid_bars_and_a_curve(page, logit):
    made = page(logit(), "explain/logit-attribution")
    for said in ("What writes", "rather than", "layer 1, head 1: +4.000", "head MLP: −1.000", "head bias: +0.125"):
        assert said in made
    assert "L1H1" in made
    assert "1: +2.625" in made, "the last point of the curve is the logit"
    assert made.count("foil, sign turned") == 1
    assert "<script" not in made
    assert not re.search(r"https?://|@import|url\(", made)


def test_a_logit_attribution_in_a_notebook_and_on_a_terminal(logit, terminal):
    drawn = logit()._repr_html_()
    assert drawn.startswith('<div class="explaind-logit-attribution"')
    assert drawn.count("<svg") == 2
    said = terminal(logit(), "explain/logit-attribution")
    assert re.search(r"L1H1 +\+4\.000", said)
    assert "What writes “ John” rather than “ Mary”: logit +2.625" in said
    assert "embedding −0.250 · heads +3.000 · MLPs −0.500 · biases +0.375" in said


def test_attention_has_a_matrix_per_head_without_its_sinks(page, attention):
    made = page(attention(), "explain/attention")
    assert "L0H1 (induction), sinks 90.0 %" in made
    assert "query  Mary, key Mary: 0.033" in made
    assert "Induction, probe" in made
    assert "Duplicate token</figcaption>" not in made, "no token of the prompt occurs twice"
    assert "Patterns are those of the last 4." in made
    assert pattern_grid(attention(), attention().patterns[0]).reach == pytest.approx(0.1)
    assert "<script" not in made


def test_attention_in_a_notebook_and_on_a_terminal(attention, terminal):
    assert '<div class="explaind-attention"' in attention()._repr_html_()
    said = terminal(attention(), "explain/attention")
    assert re.search(r"L0H1 +induction +0\.700 +90\.0 %", said)
    assert " ·" in said, "the sink's column"


def test_long_prompts_and_many_heads_are_cut(page, attention):
    many = attention(tuple(f" t{i}" for i in range(MOST_TOKENS + 10)), heads=MOST_DRAWN + 3)
    grid = pattern_grid(many, many.patterns[0])
    assert (len(grid.rows), len(grid.columns)) == (MOST_TOKENS, MOST_TOKENS)
    assert grid.columns[-1] == f" t{MOST_TOKENS + 9}"
    made = page(many, "explain/attention")
    assert made.count("Attention of L0H1</title>") == MOST_DRAWN
    assert f"the first {MOST_DRAWN} of {MOST_DRAWN + 3} heads" in made


def test_nothing_in_a_prompt_can_do_harm(page, terminal, logit, attention):
    for result, method in (
        (logit(HOSTILE, HOSTILE), "explain/logit-attribution"),
        (attention(("<s>", HOSTILE)), "explain/attention"),
    ):
        made = page(result, method)
        assert "<script" not in made
        assert "\x1b" not in made
        assert "\x1b" not in terminal(result, method)
