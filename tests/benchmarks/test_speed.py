"""Every case of speed, at a small scale: its code runs, and ours and the peer give one answer where they should."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.amounts import GROUPS
from benchmarks.attribution import Scale, cases, speed_cases
from benchmarks.memory import measured, peak_bytes
from benchmarks.settings import Settings
from benchmarks.shapes import GPT2, LLAMA, Prompt
from benchmarks.speed import Case, Peer, Speed, largest_difference
from benchmarks.speed_table import REQUIRED, TITLES

SMALL = Scale(
    units=8,
    target=3,
    long_units=12,
    prefix=10,
    ablated=(8, 3),
    long_ablated=(12, 4),
    prefix_ablated=(8, 4),
    permutations=(4, 2),
    prefix_permutations=(4, 1),
    samples=(40, 20),
    prefix_samples=(40, 20),
    steps=(12, 6),
    budget=(64, 40),
    players=(6, 4),
    targets=(3, 2),
    coalitions=64,
)
CASES = {case.name: case for case in speed_cases(SMALL)}
SHAPES = {shape.family: shape.tiny() for shape in (GPT2, LLAMA)}


@pytest.fixture(scope="module")
def speed():
    return Speed(tuple(SHAPES.values()), Settings(repeats=1))


# The peers read every model in the same way: on the second one, a case of each kind of question shows that ours does.
ON_BOTH = {"feature_ablation", "prefix_shap", "shapley_sampling", "integrated_gradients"}


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for name in CASES for family in SHAPES if family == "gpt2" or name in ON_BOTH]
)
@pytest.mark.filterwarnings("ignore")  # the peers' own
def test_a_case_tells_the_same_of_ours_and_the_peer(speed, name, family):
    row = speed.row(CASES[name], SHAPES[family])
    if "skipped" in row.figures:
        pytest.skip(row.figures["skipped"])
    assert "peer_error" not in row.figures
    assert row.ratio is not None
    assert row.tokens_evaluated > 0
    assert row.peer_tokens_evaluated > 0
    assert row.peak_fraction > 0
    if name == "feature_ablation_default":
        assert row.max_abs_diff is not None, "what captum's default tells is wrong, and by how much is told"
    elif CASES[name].peer.same:
        assert row.max_abs_diff < 1e-4
    else:
        assert row.max_abs_diff is None


def test_a_peer_that_is_wrong_shows(speed):
    def wrong(bench, prompt, work):
        return CASES["feature_ablation"].peer.ask(bench, prompt, work) + 0.5

    case = replace(CASES["feature_ablation"], peer=Peer("wrong", wrong))
    assert speed.row(case, SHAPES["gpt2"]).max_abs_diff == pytest.approx(0.5, abs=1e-3)


def test_a_peer_that_fails_is_told(speed):
    def failing(bench, prompt, work):
        raise IndexError("out of range")

    row = speed.row(replace(CASES["feature_ablation"], peer=Peer("failing", failing)), SHAPES["gpt2"])
    assert row.figures["peer_error"] == "IndexError: out of range"
    assert row.ours_s is not None
    assert row.as_json().keys().isdisjoint({"peer_s", "ratio", "max_abs_diff"})


def test_a_part_of_the_peers_work_is_scaled_to_the_whole(speed):
    part = speed.row(CASES["feature_ablation_long"], SHAPES["gpt2"])
    asked = CASES["feature_ablation_long"].work
    assert part.peer_share == pytest.approx((asked[1] + 1) / (asked[0] + 1), abs=1e-4)
    # captum evaluates the whole prompt and each token's absence, prompt and target in one forward each
    assert part.peer_tokens_evaluated == (asked[0] + 1) * (SMALL.long_units + SMALL.target)


def test_the_whole_is_what_was_asked_for():
    whole = Speed((SHAPES["gpt2"],), Settings(whole=True, repeats=1))
    row = whole.row(CASES["feature_ablation_long"], SHAPES["gpt2"])
    assert row.peer_share is None


def test_what_this_version_lacks_is_said(speed):
    peer = CASES["feature_ablation"].peer
    unknown = Case("x", "no-such-method", GROUPS, (2, 2), peer, units=4, target=1)
    assert "no-such-method" in speed.row(unknown, SHAPES["gpt2"]).figures["skipped"]
    field = Case("x", "feature-ablation", GROUPS.also(nonsense=1), (2, 2), peer, units=4, target=1)
    assert "no such request" in speed.row(field, SHAPES["gpt2"]).figures["skipped"]
    library = replace(CASES["feature_ablation"], peer=replace(peer, needs="no_such_library"))
    assert "no_such_library" in speed.row(library, SHAPES["gpt2"]).figures["skipped"]


def test_answers_about_other_units_are_no_comparison():
    with pytest.raises(ValueError, match="values"):
        largest_difference(np.zeros(3), np.zeros(1))


def test_the_page_knows_every_case():
    assert list(TITLES) == list(CASES)
    assert set(REQUIRED) <= set(CASES)
    assert {"accuracy", "memory", *CASES} == set(cases(Settings()))


def test_the_most_memory_is_the_high_water_mark(tmp_path):
    status = tmp_path / "status"
    status.write_text("VmPeak:\t  9000 kB\nVmHWM:\t  1024 kB\nVmRSS:\t   512 kB\n")
    assert peak_bytes(status) == 1 << 20
    status.write_text("VmRSS:\t   512 kB\n")
    with pytest.raises(OSError, match="VmHWM"):
        peak_bytes(status)


@pytest.mark.parametrize("algorithm", ["exact", "kernel"])
def test_memory_is_measured_against_the_models_size(tmp_path, monkeypatch, algorithm):
    monkeypatch.setattr("benchmarks.memory.peak_bytes", lambda: 1 << 40)  # the process's own lies in the past
    shape = SHAPES["gpt2"]
    shape.save(tmp_path)
    figures = measured(tmp_path, Prompt.drawn(shape.vocabulary, 12, target=3), 64, algorithm)
    assert figures["coalitions"] == 64
    assert figures["tokens_evaluated"] > 64
    assert 0 < (1 << 40) - figures["peak_bytes"] < 1 << 37  # what the process had before is not the measurement's
    assert figures["allowed_bytes"] - (512 << 20) == int(1.5 * figures["model_bytes"])
