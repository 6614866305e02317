"""The cases of a GPU, tiny and on a CPU: every part of them that needs no GPU runs."""

import json
import sys
from argparse import Namespace

import pytest

from benchmarks import __main__ as command
from benchmarks import gpu
from benchmarks.settings import Settings


@pytest.fixture(scope="module")
def settings():
    return Settings(repeats=1, tiny=True)


def test_there_is_a_case_for_each_model(settings):
    assert list(gpu.cases(settings)) == ["llama-1b", "gemma2-2b", "llama-8b"]
    assert {shape.fields["hidden_size"] for shape in gpu.SHAPES} == {2048, 2304, 4096}


@pytest.mark.filterwarnings("ignore")  # captum's own
def test_a_case_reads_sweeps_decodes_and_evicts(settings):
    rows = {row.case: row for row in gpu.cases(settings)["gemma2-2b"]()}
    assert list(rows) == ["tree", "dense", "captum", "heads_logprob", "logit_lens", "evicted"]
    for way in ("tree", "dense", "captum"):
        row = rows[way]
        assert row.ours_s > 0
        assert row.tokens_evaluated > 0
        assert row.peak_fraction > 0
        assert row.figures["tokens_per_s"] == pytest.approx(row.tokens_evaluated / row.ours_s, rel=0.2)
    assert rows["tree"].tokens_evaluated < rows["dense"].tokens_evaluated, "beginnings are shared"
    assert rows["dense"].max_abs_diff < 1e-4, "and the scores are the same"
    for inside in ("heads_logprob", "logit_lens"):
        assert "peer_error" not in rows[inside].figures
        assert rows[inside].max_abs_diff < 1e-3
    assert rows["evicted"].figures["freed_bytes"] == rows["evicted"].figures["model_bytes"] > 0


@pytest.mark.parametrize(
    ("area", "device", "dtype", "expected"),
    [
        ("gpu", None, None, ("cuda:0", "bfloat16")),
        ("gpu", "cpu", None, ("cpu", "float32")),
        ("gpu", "cuda", "float16", ("cuda:0", "float16")),
        ("insides", None, None, ("cpu", "float32")),
        ("insides", "cuda", None, ("cuda:0", "float32")),
    ],
)
def test_the_area_is_measured_on_a_gpu_unless_another_device_is_named(area, device, dtype, expected):
    options = Namespace(area=area, full=False, repeats=2, device=device, dtype=dtype, tiny=True)
    settings = command.settings_of(options)
    assert (settings.device, settings.dtype) == expected
    assert settings.repeats == 2
    assert settings.tiny


def test_the_command_writes_the_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "rows_of", lambda shape, scale, settings: [gpu.Row("tree", shape.name, ours_s=0.5)])
    file = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu", "--device", "cpu", "--tiny", "--json", str(file)])
    command.main()
    written = json.loads(file.read_text())
    assert [row["model"] for row in written["rows"]] == ["tiny-llama-1b", "tiny-gemma2-2b", "tiny-llama-8b"]
    assert len(capsys.readouterr().out.splitlines()) == 3
