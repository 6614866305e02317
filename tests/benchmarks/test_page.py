"""The page of measurements: what is measured is told, what is not is no error; files of results are kept in order."""

import json

import pytest

from benchmarks.__main__ import write
from benchmarks.gpu_table import gpu_section
from benchmarks.page import rendered_page
from benchmarks.rows import Row
from benchmarks.speed_table import required, speed_section

FAST = Row(
    "feature_ablation",
    "gpt2-small",
    ours_s=0.5,
    peer="captum, one pass",
    peer_s=4.0,
    max_abs_diff=2e-5,
    tokens_evaluated=700,
    peer_tokens_evaluated=1320,
    peak_fraction=0.755,
    figures={"repeats": 3, "largest_value": 2.5},
)
PART = Row(
    "integrated_gradients",
    "llama-small",
    ours_s=6.0,
    peer="captum LLMGradientAttribution",
    peer_s=42.0,
    tokens_evaluated=2000,
    peer_tokens_evaluated=14768,
    peak_fraction=0.5,
    peer_share=0.2,
)
FAILED = Row("lime", "gpt2-small", ours_s=1.0, peer="captum, one pass", tokens_evaluated=9, peak_fraction=0.1)
MACHINE = {"processor": "x86_64", "cores": 2, "python": "3.11"}
SKIPPED = Row("inseq_occlusion", "gpt2-small", peer="inseq", figures={"skipped": "inseq is not installed"})
MEMORY = {
    "model_bytes": 500 << 20,
    "peak_bytes": 700 << 20,
    "allowed_bytes": 1262 << 20,
    "algorithm": "exact",
    "coalitions": 4096,
    "prompt_tokens": 128,
    "seconds": 61.0,
}


def section(*rows):
    return "\n".join(speed_section({"rows": [row.as_json() for row in rows]}, "2 cores"))


def test_figures_of_an_accelerator_name_it():
    machine = {"accelerator": "a GPU", "cores": 16, "torch": "2.13.0", "dtype": "bfloat16"}
    areas = [{"machine": machine, "rows": [row.as_json() for row in rows]} for rows in ([FAST, PART], [SKIPPED])]
    lines = gpu_section(areas)
    assert "a GPU, 16 cores, PyTorch 2.13.0, bfloat16." in lines
    assert "| feature ablation | `gpt2-small` | captum, one pass | 500 ms | 4.0 s | **8.0 ×** | 2e-05 of 2.5 |" in lines
    assert sum(line.startswith("| integrated gradients") for line in lines) == 1
    assert not any("inseq" in line for line in lines), "what was not measured is left out"


def test_a_row_beside_its_peer():
    assert FAST.ratio == 8.0
    line = (
        "| feature ablation | `gpt2-small` | captum, one pass | 500 ms | 4.0 s | **8.0 ×** | 4 × | 700 | 1,320 | 76% | "
        "2e-05 of 2.5 |"
    )
    assert line in section(FAST)


def test_a_part_of_the_peers_work_is_marked():
    assert "| 6.0 s | 42.0 s † | **7.0 ×** | 4.5 × |" in section(PART)
    assert "4.0 s †" not in section(FAST)


def test_what_failed_and_what_was_not_measured_is_said():
    text = section(FAILED, SKIPPED)
    assert "| 1.0 s | failed |" in text
    assert "not measured (inseq is not installed)" in text


def test_memory_has_a_table_of_its_own():
    text = section(FAST, Row("memory", "gpt2-small", figures=MEMORY))
    assert "| 4,096 of a prompt of 128 tokens, exact | `gpt2-small` | 500 MB | 700 MB | 1,262 MB | 61.0 s |" in text


def test_nothing_measured_is_no_section():
    assert section() == ""
    assert "## Accuracy at equal evaluations" in rendered_page()


@pytest.mark.parametrize(
    ("case", "model", "ratio"),
    [
        ("shapley_sampling", "gpt2-small", 3.5),
        ("shapley_sampling", "llama-small", 2.625),
        ("prefix_lime", "llama-small", 15),
        ("lime", "gpt2-small", None),
    ],
)
def test_what_must_be_reached(case, model, ratio):
    assert required(case, model) == ratio


def test_rows_of_other_cases_stay_in_the_file(tmp_path):
    path = tmp_path / "rows.json"
    write(path, [FAST.as_json(), PART.as_json()], MACHINE, keep=False)
    newer = Row("feature_ablation", "gpt2-small", ours_s=0.25, peer_s=4.0).as_json()
    write(path, [newer], MACHINE, keep=True)
    assert json.loads(path.read_text())["rows"] == [PART.as_json(), newer]
    write(path, [newer], MACHINE, keep=False)
    assert json.loads(path.read_text())["rows"] == [newer]


def test_rows_of_another_machine_do_not(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"machine": {"cores": -1}, "rows": [FAST.as_json()]}))
    write(path, [PART.as_json()], MACHINE, keep=True)
    assert json.loads(path.read_text())["rows"] == [PART.as_json()]
