import html

import pytest

from explaind.contract.job import Job
from explaind.contract.methods.explain.logit_lens import LogitLens
from explaind.views.lens import MOST_COLUMNS, grid_table, notebook
from explaind.views.report import job_html
from tests.support.lens_result import LENS


@pytest.fixture
def lens():
    return LogitLens.model_validate(LENS)


def test_the_page_holds_a_grid_per_stream_and_nothing_that_runs(job_json):
    page = job_html(Job.model_validate(job_json(method="explain/logit-lens", result=LENS)))
    assert page.count('type="radio"') == 2
    assert page.index("stream-resid_post") < page.index("stream-attn_out"), "the stream itself comes first"
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "<b>Mary" not in page
    assert "1,233" in page, "the rank at the last layer"


def test_the_grid_goes_from_the_embedding_below_to_the_last_layer_on_top(lens):
    grid = grid_table(lens, lens.stream("resid_post"))
    rows = [row.split("</th>")[0].split(">")[-1] for row in grid.split("<tr>")[1:]]
    assert rows == ["1", "0", "emb.", "token"]
    assert grid.index(">&lt;b&gt;Mary") < grid.index(">th␛[31mree"), "layer 1 stands above layer 0"
    assert "\x1b" not in grid
    assert "90.0 %" in html.unescape(grid)


def test_a_likely_token_is_coloured_more_strongly(lens):
    grid = grid_table(lens, lens.stream("attn_out"))
    opacities = [float(part.split(",")[3].split(")")[0]) for part in grid.split("rgba(")[1:]]
    assert opacities[:3] == sorted(opacities[:3])
    assert opacities[0] < opacities[2]


def test_of_many_positions_the_last_are_shown(lens):
    wide = lens.model_copy(deep=True)
    wide.positions.text = [f"w{index}" for index in range(100)]
    wide.positions.index = list(range(100))
    for stream in wide.streams:
        for layer in range(len(stream.layers)):
            stream.top_ids[layer] = [[1, 2]] * 100
            stream.top_probabilities[layer] = [[0.5, 0.25]] * 100
            stream.entropy[layer] = stream.divergence[layer] = [0.1] * 100
    grid = grid_table(wide, wide.stream("resid_post"))
    assert grid.count("<td") == 3 * MOST_COLUMNS
    assert "w99" in grid
    assert "w59<" not in grid


def test_a_notebook_shows_the_stream_itself(lens):
    shown = notebook(lens)
    assert shown == lens._repr_html_()
    assert "block output" in shown
    assert "attention output" not in shown


def test_a_lens_of_a_single_layer_has_no_curves(lens):
    single = lens.model_copy(deep=True)
    for stream in single.streams:
        stream.layers = stream.layers[-1:]
    assert "<svg" not in notebook(single)


def test_a_stream_is_found_by_its_name(lens):
    assert lens.stream("resid_post").layers == [0, 1]
    with pytest.raises(KeyError):
        lens.stream("mlp_out")
