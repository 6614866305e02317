"""Ablations and activation patching as pictures: in the report, the notebook and the terminal."""

import re
from typing import Any

from explaind.contract.blocks.ablation import Failures
from explaind.contract.blocks.attribution_result import ScoredText, ScoredToken
from explaind.contract.methods.explain.activation_patching import ActivationPatching, PatchGrid
from explaind.contract.methods.explain.head_ablation import (
    AblatedSets,
    GradientScreenResult,
    GreedyRemoval,
    HeadAblation,
    HeadRanking,
)
from explaind.contract.methods.explain.layer_ablation import LayerAblation, LayerRanking

HOSTILE = "</style><script>alert(1)</script>\x1b[31m"
COMMON: dict[str, Any] = {
    "ablation": "zero",
    "metric": "logprob",
    "positions": "all",
    "confidence": 0.95,
    "answers": [" Mary", " 7"],
    "foils": [" John", None],
    "clean": [-0.1, -0.3],
    "clean_mean": -0.2,
    "clean_low": -1.5,
    "clean_high": 1.1,
    "evaluations": 8,
}


def heads(prompt: str = "John gave a drink to", **fields: Any) -> HeadAblation:
    made = {
        **COMMON,
        "prompts": [prompt, "3 + 4 ="],
        "layers": 2,
        "heads": 2,
        "grid": [[1.5, -0.25], [0.125, None]],
        "effects": [[[1.0, 2.0], [-0.5, 0.0]], [[0.25, 0.0], None]],
        "ranking": HeadRanking(
            layers=[0, 1, 0], heads=[0, 0, 1], effects=[1.5, 0.125, -0.25], low=[0.5, -0.5, -1.0], high=[2.5, 0.75, 0.5]
        ),
        "sets": AblatedSets(heads=[[(0, 0), (1, 0)]], effects=[4.25], low=[1.0], high=[7.5], by_question=[[4.0, 4.5]]),
        "greedy": GreedyRemoval(
            heads=[(0, 0), (1, 0)], metric=[-1.7, -4.45], effects=[1.5, 4.25], low=[0.5, 1.0], high=[2.5, 7.5],
            by_question=[[1.0, 2.0], [4.0, 4.5]],
        ),
        "first_pass": GradientScreenResult(
            effects=[[1.0, 0.5], [0.25, 0.0]], verified=[(0, 0), (0, 1), (1, 0)], spearman=0.875
        ),
        "failures": Failures(
            categories=["incomplete", "off_by_one"], clean=[0, 1], clean_said=["Mary", "8"],
            components=["layer 0, head 0"], ablated=[[1, 1]], ablated_said=[["", "9"]],
        ),
    }  # fmt: skip
    return HeadAblation(**{**made, **fields})


def layers(**fields: Any) -> LayerAblation:
    ranking = LayerRanking(
        layers=[1, 0], components=["mlp", "mlp"], effects=[3.0, 0.5], low=[None, None], high=[None, None]
    )
    made = {
        **COMMON, "prompts": ["a", "b"], "layers": [0, 1], "components": ["mlp"], "grid": [[0.5], [3.0]],
        "effects": [[[0.5, 0.5]], [[3.0, 3.0]]], "ranking": ranking,
    }  # fmt: skip
    return LayerAblation(**{**made, **fields})


def patching(name: str = " John", **fields: Any) -> ActivationPatching:
    def text(of: str) -> ScoredText:
        return ScoredText(text=of, tokens=[ScoredToken(text=of, id=1, logprob=-0.1)])

    made = {
        "prompt": f"A{name} to",
        "corrupted": "A Mary to",
        "tokens": ["A", name, " to"],
        "corrupted_tokens": ["A", " Mary", " to"],
        "target": text(" Mary"),
        "foil": text(name),
        "score": "logit",
        "direction": "denoise",
        "clean_score": 15.0,
        "corrupted_score": -16.5,
        "grids": [
            PatchGrid(point="resid_pre", layers=[0, 1], columns=[0, 1, 2], effects=[[0, 1, 0], [0, 0.5, 0.25]],
                      scores=[[0, 1, 0], [0, 0.5, 0.25]]),
            PatchGrid(point="z", layers=[1], columns=[0, 1], effects=[[0.75, -0.1]], scores=[[1, 2]]),
        ],
        "evaluations": 8,
    }  # fmt: skip
    return ActivationPatching(**{**made, **fields})


def test_the_page_of_head_ablation_shows_all_that_was_found(page):
    made = page(heads(), "explain/head-ablation")
    assert made.count('class="grid"') == 2, "the exact effects and those of the first pass"
    assert "layer 0, head 0: +1.500" in made
    assert "layer 1, head 1: nothing" in made
    assert made.count('class="whisker"') == 3
    for said in (
        "What 2 answers lose without single heads", "95 % intervals over the questions", "[+0.500, +2.500]",
        "0.0, 1.0", "+4.250 [+1.000, +7.500]", "rank correlation 0.875", "off by one", "John gave a drink to",
        "log-probability of the right answer",
    ):  # fmt: skip
        assert said in made
    assert "<script" not in made
    assert not re.search(r"https?://|@import|url\(", made)


def test_what_was_not_asked_has_no_card(page):
    bare = heads(sets=None, greedy=None, first_pass=None, failures=None)
    made = page(bare, "explain/head-ablation")
    for title in ("Together", "One after the other", "The first pass", "How answers fail"):
        assert title not in made
    alone = heads(
        grid=[[None, None]] * 2, ranking=HeadRanking(layers=[], heads=[], effects=[], low=[], high=[])
    )  # fmt: skip
    made = page(alone, "explain/head-ablation")
    assert "Ranking" not in made
    assert "Together" in made
    made = page(alone.model_copy(update={"first_pass": None}), "explain/head-ablation")
    assert 'class="grid"' not in made
    assert "By layer" not in made
    assert "<svg" not in alone._repr_html_()


def test_one_question_has_no_whiskers(page):
    made = page(layers(), "explain/layer-ablation")
    assert "layer 1, mlp" in made
    assert "whisker" not in made.partition("</style>")[2]


def many_heads(**fields: Any) -> HeadAblation:
    """Thirty heads, of which the one that costs least by far is the strongest."""
    grid = [[0.01 * (10 * layer + head) for head in range(10)] for layer in range(3)]
    grid[0][7] = -3.4
    order = sorted(((effect, a, b) for a, row in enumerate(grid) for b, effect in enumerate(row)), reverse=True)
    effects, layers, places = (list(column) for column in zip(*order, strict=True))
    ranking = HeadRanking(layers=layers, heads=places, effects=effects, low=[None] * 30, high=[None] * 30)
    bare = {"sets": None, "greedy": None, "first_pass": None, "failures": None}
    return heads(layers=3, heads=10, grid=grid, effects=[[None] * 10] * 3, ranking=ranking, **bare, **fields)


def test_the_largest_effects_come_first_whatever_their_sign_and_a_break_says_what_is_left_out(page, terminal):
    made = page(many_heads(), "explain/head-ablation")
    names = re.findall(r'title="(layer \d+, head \d+): ([^"]*)"', made)
    assert names[:2] == [("layer 0, head 7", "−3.400"), ("layer 2, head 9", "+0.290")]
    assert len(names) == 20
    assert "\N{VERTICAL ELLIPSIS} 10 more left out, from 0 to +0.100" in made
    assert "Better without" in made
    notebook = many_heads()._repr_html_()
    assert notebook.index("layer 0, head 7: −3.400") < notebook.index("layer 2, head 9: +0.290")
    assert "25 more left out, from 0 to +0.250" in notebook
    shown = terminal(many_heads(), "explain/head-ablation")
    assert shown.index("layer 0, head 7  −3.400") < shown.index("layer 2, head 9  +0.290")
    assert "and 20 more left out, from 0 to +0.200" in shown


def test_the_heads_of_each_layer_are_added_up(page):
    made = page(many_heads(), "explain/head-ablation")
    assert re.findall(r'title="(layer \d): ([^"]*)"', made) == [
        ("layer 0", "−3.020"), ("layer 1", "+1.450"), ("layer 2", "+2.450"),
    ]  # fmt: skip
    assert re.findall(r'title="(layer \d \(\d heads?\)): ([^"]*)"', page(heads(), "explain/head-ablation")) == [
        ("layer 0 (2 heads)", "+0.625"), ("layer 1 (1 head)", "+0.125"),
    ], "means, where not as many heads were ablated in each"  # fmt: skip
    assert "By layer" not in page(layers(), "explain/layer-ablation")


def test_shares_are_percentages_and_their_differences_points_everywhere(page, terminal):
    shares = heads(
        metric="accuracy", clean=[1.0, 0.0], clean_mean=0.625, clean_low=0.3057, clean_high=0.8632,
        grid=[[0.625, -0.125], [0.125, None]],
        ranking=HeadRanking(layers=[0, 1, 0], heads=[0, 0, 1], effects=[0.625, 0.125, -0.125],
                            low=[0.17, -0.2, -0.4], high=[0.863, 0.4, 0.2]),
        sets=AblatedSets(heads=[[(0, 0), (1, 0)]], effects=[0.5], low=[0.1], high=[0.8], by_question=[[1, 0]]),
        greedy=GreedyRemoval(heads=[(0, 0)], metric=[0.0], effects=[0.625], low=[0.17], high=[0.863],
                             by_question=[[1.0, 0.25]]),
    )  # fmt: skip
    made, notebook = page(shares, "explain/head-ablation"), shares._repr_html_()
    shown = terminal(shares, "explain/head-ablation")
    for drawn in (made, notebook, shown):
        assert "62.5 %" in drawn
        assert "31 to 86 %" in drawn
        assert "+62.5 points [+17.0, +86.3]" in drawn
        assert "0.625" not in drawn
    assert "+50.0 points [+10.0, +80.0]" in made
    assert "without 0.0, 1.0: +50.0 points [+10.0, +80.0]" in shown
    assert "62.5 % → −0.0 0 %" in shown
    assert made.count("layer 0, head 0: +62.5 points") == 2, "in the grid and among the bars"
    assert ">right</td>" in made


def test_failures_are_a_pie_with_counts_and_percentages(page):
    made = page(heads(), "explain/head-ablation")
    assert re.findall(r'class="pie" aria-label="([^"]*)"', made) == [
        "the whole model: 1 wrong answer: incomplete: 0 (0 %); off by one: 1 (100 %)",
        "without layer 0, head 0: 2 wrong answers: incomplete: 1 (50.0 %); off by one: 1 (50.0 %)",
    ]


def test_the_page_of_patching_names_tokens_and_what_differs(page):
    made = page(patching(), "explain/activation-patching")
    assert made.count('class="grid"') == 2
    assert "layer 0, token John/Mary: +1.000" in made
    assert "most: layer 0, token 1 (John/Mary), +1.000" in made
    assert "most: layer 1, head 0, +0.750" in made
    assert "What carries" in made
    assert "−16.50" in made


def test_notebooks_have_the_pictures():
    assert heads()._repr_html_().startswith('<div class="explaind-ablation"')
    assert layers()._repr_html_().count("<svg") == 1
    assert patching()._repr_html_().count("<svg") == 2


def test_the_terminal_has_the_ranking_and_the_grids(terminal):
    made = terminal(heads(), "explain/head-ablation")
    assert "layer 0, head 0  +1.500 [+0.500, +2.500]" in made
    assert "without 0.0, 1.0: +4.250" in made
    assert "−0.200 → −0.0 −1.700 → −1.0 −4.450" in made
    assert "rank correlation with the exact effects: 0.875" in made
    assert "off by one" in made
    assert "layer 1, mlp  +3.000" in terminal(layers(), "explain/layer-ablation")
    made = terminal(patching(), "explain/activation-patching")
    assert "most: layer 0, token 1 (John/Mary), +1.000" in made
    assert "clean into corrupted" in made


def test_strangers_texts_steer_nothing(page, terminal):
    for result, method in (
        (heads(HOSTILE, answers=[HOSTILE, "7"]), "explain/head-ablation"),
        (patching(HOSTILE), "explain/activation-patching"),
    ):
        made = page(result, method)
        assert "<script" not in made
        assert "\x1b" not in made
        assert "<script" not in result._repr_html_()
        assert "\x1b" not in terminal(result, method)
