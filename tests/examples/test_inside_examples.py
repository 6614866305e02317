"""The examples of looking inside run to their ends on the built-in model, in a service of their own."""

import json
import sys

import head_ablation
import probing_lenses
import pytest
import train_demo_lens
from own_service import stack_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url():
    with stack_of({}) as address:
        yield address


def run(example, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [example.__name__, *map(str, arguments)])
    example.main()


def test_every_head_is_ablated_and_the_failures_are_told(url, monkeypatch, tmp_path, capsys):
    few = ("--sets", "arithmetic", "logic", "--top", 2, "--new-tokens", 4)
    run(head_ablation, monkeypatch, "--url", url, *few, "--out", tmp_path)
    told = capsys.readouterr().out
    assert "arithmetic: 5 of 8 right" in told
    assert "wrong operation" in told
    assert told.count("nats") == 4, "two heads of each set"
    assert "whole model fails: " in told
    found = json.loads((tmp_path / "arithmetic-heads.json").read_text(encoding="utf-8"))
    assert len(found["grid"]) == found["layers"]
    assert "<svg" in (tmp_path / "logic-heads.svg").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in (tmp_path / "logic-failures.html").read_text(encoding="utf-8")


def test_every_sublayer_is_decoded_with_a_lens_of_its_own(url, monkeypatch, tmp_path, capsys):
    run(probing_lenses, monkeypatch, "--url", url, "--steps", 3, "--out", tmp_path)
    told = capsys.readouterr().out
    for stream in ("attn_out", "resid_mid", "mlp_out", "resid_post"):
        assert f"  {stream}" in told
    assert "resid_post 3: logit lens 0.000, tuned lens 0.000 nats" in told
    assert "the final token stays on top from layer 3 on" in told
    found = json.loads((tmp_path / "tuned-lens.json").read_text(encoding="utf-8"))
    assert found["lens"]["name"].startswith("art_")


def test_a_lens_needs_texts_unless_the_model_is_the_built_in_one(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(probing_lenses, monkeypatch, "--path", tmp_path, "--out", tmp_path)
    assert "give --text FILE, or --lens ID" in capsys.readouterr().err


def test_the_lens_of_the_built_in_model_can_be_trained_again(url, tmp_path, capsys, monkeypatch):
    texts = train_demo_lens.texts()
    monkeypatch.setattr(train_demo_lens, "texts", lambda: texts[::20])
    train_demo_lens.trained(url, tmp_path / "lens.safetensors", steps=1, batch_tokens=64)
    assert "resid_post 3: logit lens 0.00, tuned lens 0.00 nats" in capsys.readouterr().out
    assert (tmp_path / "lens.safetensors").stat().st_size > 200_000
