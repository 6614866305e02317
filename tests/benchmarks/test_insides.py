"""Every case of looking inside, at a small scale: its code runs, and ours and the peer give one answer."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.insides import Insides, Scale, cases, insides_cases
from benchmarks.insides_table import REQUIRED, TITLES
from benchmarks.lens_memory import SIDES, TOP, measured
from benchmarks.lens_peers import all_at_once, hidden_states
from benchmarks.settings import Settings
from benchmarks.shapes import DEMO, GPT2, LLAMA, Prompt

SMALL = Scale(questions=3, shortest=6, layers=1, new_tokens=3, lens_tokens=9)
CASES = [(case, shape) for case in insides_cases(SMALL) for shape in case.shapes]


def tiny(shape):
    return shape if shape is DEMO else shape.tiny()


@pytest.fixture(scope="module")
def insides():
    return Insides(SMALL, Settings(repeats=1))


@pytest.mark.parametrize(("case", "shape"), CASES, ids=lambda of: of.name)
@pytest.mark.filterwarnings("ignore")  # the peers' own
def test_a_case_tells_the_same_of_ours_and_the_peer(insides, case, shape):
    row = insides.row(case, tiny(shape))
    if "skipped" in row.figures:
        assert case.needs.startswith("transformer_lens.")
        assert row.figures["skipped"] == f"{case.needs} is not installed; it takes an environment of its own"
        return
    assert "peer_error" not in row.figures
    assert row.ratio is not None
    assert row.tokens_evaluated > 0
    if case.name == "heads_generate":
        assert row.figures["same"] == 1.0
        assert row.max_abs_diff is None
    else:
        assert row.max_abs_diff < 1e-4
        assert row.figures["largest_value"] > 1e-3
    if row.peer_tokens_evaluated and case.in_layers and case.name != "heads_generate":  # of a model of two layers
        assert row.peer_tokens_evaluated > row.tokens_evaluated


def test_a_peer_that_is_wrong_shows(insides):
    case = insides_cases(SMALL)[0]
    wrong = replace(case, peer=lambda bench, layers: case.peer(bench, layers) + 0.5)
    assert insides.row(wrong, GPT2.tiny()).max_abs_diff == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("side", SIDES)
def test_the_memory_of_a_lens_is_measured(tmp_path, side):
    assert measured(LLAMA.tiny(), tmp_path, 40, side) >= 0


def test_both_peers_of_the_lens_tell_the_same(insides):
    bench, prompt = insides.bench(GPT2.tiny()), Prompt.drawn(400, 9, target=1)
    by_layer, at_once = (peer(bench, prompt, TOP) for peer in (hidden_states, all_at_once))
    np.testing.assert_allclose(by_layer, at_once, rtol=1e-5)


def test_every_case_has_a_title_and_what_is_required_is_measured():
    names = set(cases(Settings()))
    assert names == set(TITLES)
    assert set(REQUIRED) <= names
