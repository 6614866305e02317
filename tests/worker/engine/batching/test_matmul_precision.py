import threading

import pytest
import torch

from explaind_worker.engine.batching import matmul_precision
from explaind_worker.engine.batching.matmul_precision import fast_products, products_in
from explaind_worker.models.loading.loading import load_encoder, load_model

SUBJECT = {"prompt": "Once upon a time Mary gave a drink", "target": " to", "budget": 64, "algorithm": "kernel"}


@pytest.fixture
def units_for_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)


def test_a_processor_without_units_for_it_has_no_faster_type(loaded, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert fast_products(loaded("llama")) is None


def test_a_float32_model_has_one_where_there_are_units(loaded, units_for_bfloat16):
    assert fast_products(loaded("llama")) == "bfloat16"


def test_narrow_models_have_none(tiny_model, units_for_bfloat16):
    entry = tiny_model("llama", dtype="bfloat16")
    assert fast_products(load_model(entry, load_encoder(entry), threading.Lock())) is None


def test_the_switch_is_put_back_even_after_a_failure():
    before = torch.backends.mkldnn.matmul.fp32_precision
    seen = []

    def fail():
        with products_in("bfloat16"):
            seen.append(torch.backends.mkldnn.matmul.fp32_precision)
            raise KeyError("on the way")

    with pytest.raises(KeyError, match="on the way"):
        fail()
    assert seen == ["bf16"]
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_the_answer_says_what_fast_products_changed(run, units_for_bfloat16, monkeypatch):
    seen = []
    found = matmul_precision.products_in

    def watched(kind):
        seen.append(kind)
        return found(kind)

    for evaluator in ("tree_evaluator", "dense_evaluator"):
        monkeypatch.setattr(f"explaind_worker.engine.scoring.{evaluator}.products_in", watched)
    exact, fast = run("explain/shap", **SUBJECT), run("explain/shap", **SUBJECT, precision="fast")
    assert exact.fast is None
    assert fast.fast.products == "bfloat16"
    assert fast.fast.checked == 2
    assert 0.0 <= fast.fast.largest_difference < 0.5
    assert {None, "bfloat16"} <= set(seen)
    assert fast.values == pytest.approx(exact.values, abs=0.5)


def test_the_answer_says_that_there_was_nothing_to_gain(run, monkeypatch):
    monkeypatch.setattr("explaind_worker.attribution.coalition_game.fast_products", lambda _: None)
    fast = run("explain/shap", **SUBJECT, precision="fast")
    assert (fast.fast.products, fast.fast.checked, fast.fast.largest_difference) == ("float32", 0, 0.0)
