import html
import re

import pytest

from explaind.contract.job import Job
from explaind.contract.methods.explain.logit_lens import LogitLens
from explaind.views import lens as lens_page
from explaind.views.lens import notebook
from explaind.views.parts.lens_grid import MOST_CELLS, MOST_NOTEBOOK_CELLS, lens_grid, stream_table
from explaind.views.parts.lens_measures import Places, Scale
from explaind.views.report import job_html
from tests.support.lens_result import LENS


@pytest.fixture
def lens():
    return LogitLens.model_validate(LENS)


@pytest.fixture
def wide(lens):
    """`wide(count)`: the lens at that many positions."""

    def make(count):
        made = lens.model_copy(deep=True)
        made.positions.text = [f"w{index}" for index in range(count)]
        made.positions.index = made.positions.token_id = list(range(count))
        made.positions.special = made.positions.template = made.positions.in_target = [False] * count
        for stream in made.streams:
            stream.first_layer = stream.settled_layer = [0] * count
            for layer in range(len(stream.layers)):
                stream.top_ids[layer] = [[1, 2]] * count
                stream.top_probabilities[layer] = [[0.5, 0.25]] * count
                stream.entropy[layer] = stream.divergence[layer] = [0.1] * count
        return made

    return make


def test_the_page_holds_a_grid_per_stream_and_nothing_that_runs(job_json):
    page = job_html(Job.model_validate(job_json(method="explain/logit-lens", result=LENS)))
    assert page.count('value="of-') == 2, "a choice of stream"
    assert page.count('value="by-') == 5, "and of colour"
    assert page.count("checked=") == 2
    assert page.index("of-resid_post") < page.index("of-attn_out"), "the stream itself comes first"
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "<b>Mary" not in page
    assert "1,233" in page, "the rank at the last layer"
    assert "the axis runs downward" in page


def test_the_grid_goes_from_the_embedding_below_to_the_last_layer_on_top(lens):
    grid = stream_table(lens, lens.stream("resid_post"), range(3))
    rows = [row.split("</th>")[0].split(">")[-1] for row in grid.split("<tr>")[1:]]
    assert rows == ["1", "0", "emb.", "token"]
    assert grid.index(">&lt;b&gt;Mary") < grid.index(">th␛[31mree"), "layer 1 stands above layer 0"
    assert "\x1b" not in grid
    assert "90.0 %" in html.unescape(grid)


def test_layers_and_tokens_stay_in_sight(lens):
    rules, _, grid = lens_grid(lens, lens.streams[1:]).partition("</style>")
    assert ".lens tbody th{position:sticky;left:0;" in rules
    assert ".lens tfoot th{position:sticky;bottom:0;" in rules
    assert ".lens tfoot th:first-child{position:sticky;left:0;bottom:0;" in rules
    assert (
        grid.count("<tbody><tr><th")
        == grid.count("<tfoot><tr><th")
        == grid.count('class="pane" style="overflow:auto')
        == 2
    )
    layers, tokens = stream_table(lens, lens.stream("resid_post"), range(3), inline=True).split("<tfoot>")
    assert layers.count("position:sticky;left:0") == 3, "in a notebook that drops the rules as well"
    assert tokens.count("position:sticky;bottom:0") == 3


def test_every_place_lists_its_tokens_to_the_pointer_and_the_keyboard(lens):
    grid = stream_table(lens, lens.stream("attn_out"), range(3))
    assert grid.count("<td") == grid.count('<td tabindex="0" title="') == 6
    assert "th␛[31mree  90.0 %\n&lt;i&gt;one  5.00 %\nentropy 0.250, KL 0, rank 2+" in grid
    assert "content:attr(title)" in lens_grid(lens, lens.streams[1:])


def test_each_choice_of_colour_grows_with_what_it_measures(lens):
    stream = lens.stream("attn_out")
    first, last = (Places(lens, stream, place, Scale.of(lens.streams)) for place in (0, 1))
    assert first.strengths(0)["p"] < first.strengths(1)["p"] < first.strengths(2)["p"]
    assert first.strengths(0)["l"] > first.strengths(0)["p"], "log-probabilities tell small ones apart"
    assert [places.final_rank(2) for places in (first, last)] == [None, 0], "token 4 comes up in the last layer"
    assert [places.strengths(2)["r"] for places in (first, last)] == [0, 78]
    assert first.strengths(0)["e"] == first.strengths(0)["k"] == 78, "the largest of all"
    assert first.strengths(2)["k"] == 0
    grid = lens_grid(lens, lens.streams[1:])
    for key in "plrek":
        assert f".lens:has([value=by-{key}]:checked) td{{background:rgb(" in grid
    assert 'style="--p:42;--l:73' in grid


def test_legends_end_in_the_colour_of_the_strongest_cell(lens):
    grid = lens_grid(lens, [lens.stream("attn_out")])
    assert grid.count("rgb(230 108 20/78%) 100%") == 3, "probability, log-probability, rank"
    bars = re.findall(r'<span style="([^"]*)" class="scale">', grid)
    assert len(bars) == 5
    assert not any("opacity" in bar for bar in bars)
    assert "opacity" not in re.search(r"<div style=[^>]*>(?=<span[^>]*>0</span>)", grid).group()
    inline = notebook(lens)
    cells = [int(part.split("%")[0]) for part in inline.split(";background:rgb(230 108 20/")[1:]]
    assert max(cells) == round(100 * (0.06 + 0.72 * 0.9))


def test_all_positions_are_there_as_far_as_a_page_can_hold(wide, job_json, monkeypatch):
    def drawn(count, **options):
        return lens_grid(wide(count), wide(count).streams[1:], **options)

    assert drawn(100).count("<td") == 5 * 100, "two layers of two streams, and the embedding"
    assert drawn(100, most=50).count("<td") == 5 * 10
    assert ">w99<" in drawn(100, most=50)
    assert ">w89<" not in drawn(100, most=50)
    monkeypatch.setattr(lens_page, "MOST_CELLS", 500)
    job = job_json(method="explain/logit-lens", result=wide(107).model_dump(mode="json"))
    assert "the last 100 of 107 positions; the result itself has all" in job_html(Job.model_validate(job))
    each = (len(drawn(200)) - len(drawn(100))) / 500
    assert each * MOST_CELLS < 6_000_000, "bytes of a whole page"
    monkeypatch.setattr(lens_page, "MOST_NOTEBOOK_CELLS", 100)
    few = notebook(wide(60))
    assert few.count("<td") == 99 <= MOST_NOTEBOOK_CELLS
    assert "attention output" not in few


def test_a_notebook_shows_the_streams_and_keeps_a_colour_without_a_stylesheet(lens):
    shown = notebook(lens)
    assert shown == lens._repr_html_()
    assert "block output" in shown
    assert "attention output" in shown
    assert shown.count(";background:rgb(230 108 20/") == shown.count("<td") == 15


def test_a_lens_of_a_single_layer_has_no_curves(lens):
    single = lens.model_copy(deep=True)
    for stream in single.streams:
        stream.layers = stream.layers[-1:]
    assert "<svg" not in notebook(single)


def test_a_stream_is_found_by_its_name(lens):
    assert lens.stream("resid_post").layers == [0, 1]
    with pytest.raises(KeyError):
        lens.stream("mlp_out")
