"""By which way products are faster, told by timing; the timing itself is replaced, since it depends on the machine."""

import threading

import pytest
import torch

from explaind_worker.engine.batching import matmul_precision
from explaind_worker.engine.batching.matmul_precision import (
    FastProducts,
    Gain,
    fast_products,
    measured_gain,
    products_in,
)
from explaind_worker.models.loading.loading import load_encoder, load_model


@pytest.fixture
def gains(monkeypatch):
    """`gains(switch=…, copy=…)`: a processor with units for bfloat16 that is so many times faster by each way."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    timed = []

    def set_to(**by_way):
        monkeypatch.setattr(matmul_precision, "measured_gain", lambda *shape: timed.append(shape) or Gain(**by_way))
        return timed

    return set_to


def test_a_processor_without_units_for_it_is_not_even_timed(loaded, monkeypatch, gains):
    timed = gains(switch=9.0, copy=9.0)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert fast_products(loaded("llama")) == FastProducts(None, "this processor has no units for bfloat16")
    assert timed == []


@pytest.mark.parametrize(
    ("switch", "copy", "way"),
    [(0.0, 1.3, "copy"), (1.0, 1.9, "copy"), (1.3, 1.9, "switch"), (4.0, 1.0, "switch"), (1.29, 1.29, None)],
)
def test_the_way_is_the_one_that_gains(loaded, gains, switch, copy, way):
    timed = gains(switch=switch, copy=copy)
    found = fast_products(loaded("llama"))
    assert (found.way, found.type) == (way, "bfloat16" if way else None)
    assert timed == [(64, 128)], "the model's own MLP"
    if way is None:
        assert found.why_not == "products of its size in bfloat16 are 1.3 times as fast on this processor"


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"dtype": "bfloat16"}, "bfloat16 is its own type"), ({"dtype": "float16"}, "float16 is its own type")],
)
def test_narrow_models_have_none(tiny_model, gains, fields, why):
    gains(switch=9.0, copy=9.0)
    entry = tiny_model("llama", **fields)
    assert fast_products(load_model(entry, load_encoder(entry), threading.Lock())) == FastProducts(None, why)


def test_quantized_models_have_none(tiny_model, gains):
    gains(switch=9.0, copy=9.0)
    entry = tiny_model("llama", quantization="nf4")
    quantized = load_model(entry, load_encoder(entry), threading.Lock())
    assert fast_products(quantized) == FastProducts(None, "its weights are quantized (nf4)")


def test_a_switch_that_changes_no_number_gains_nothing(monkeypatch):
    """However fast it seemed: where oneDNN's switch does nothing, both products are those of float32."""
    monkeypatch.setattr(matmul_precision, "_least_seconds", lambda *runs: [3.0, 1.0, 2.0])
    assert not torch.cpu._is_amx_tile_supported()
    assert measured_gain.__wrapped__(32, 64) == Gain(switch=0.0, copy=1.5)

    def rounding(way):
        assert way == "switch"
        monkeypatch.setattr(matmul_precision.functional, "linear", lambda x, w: x.bfloat16().float() @ w.t())
        return undone()

    class undone:  # noqa: N801 - a context
        def __enter__(self):
            return None

        def __exit__(self, *_):
            monkeypatch.setattr(matmul_precision.functional, "linear", linear)

    linear = torch.nn.functional.linear
    monkeypatch.setattr(matmul_precision, "products_in", rounding)
    assert measured_gain.__wrapped__(32, 64) == Gain(switch=3.0, copy=1.5)


def test_the_timing_of_a_shape_is_done_once(monkeypatch):
    measured_gain.cache_clear()
    tries = []
    monkeypatch.setattr(matmul_precision, "_least_seconds", lambda *runs: tries.append(len(runs)) or [1.0, 1.0, 1.0])
    assert measured_gain(8, 16) is measured_gain(8, 16)
    assert tries == [3]
    measured_gain.cache_clear()


def test_the_switch_is_put_back_even_after_a_failure():
    before = torch.backends.mkldnn.matmul.fp32_precision
    seen = []

    def fail():
        with products_in("switch"):
            seen.append(torch.backends.mkldnn.matmul.fp32_precision)
            raise KeyError("on the way")

    with pytest.raises(KeyError, match="on the way"):
        fail()
    assert seen == ["bf16"]
    assert torch.backends.mkldnn.matmul.fp32_precision == before


@pytest.mark.parametrize("way", [None, "copy"])
def test_what_is_no_switch_switches_nothing(way):
    before = torch.backends.mkldnn.matmul.fp32_precision
    with products_in(way):
        assert torch.backends.mkldnn.matmul.fp32_precision == before
