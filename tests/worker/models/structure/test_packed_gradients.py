"""Gradients through quantized layers: exact, or seen to be wrong when the model is loaded."""

import threading

import pytest
import torch
from bitsandbytes.autograd import _functions as products
from bitsandbytes.nn import modules as layers

from explaind.contract.errors import GradientsUnavailable
from explaind_worker.models.loading.gradient_support import gradient_notes
from explaind_worker.models.loading.loading import load_encoder, load_model
from explaind_worker.models.structure import packed_gradients
from explaind_worker.models.structure.packed_gradients import check_gradients


def load(entry):
    return load_model(entry, load_encoder(entry), threading.Lock())


def dequantized(layer: layers.Linear4bit) -> torch.Tensor:
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


@pytest.fixture
def bfloat16_units(monkeypatch):
    """A CPU with AVX512-BF16, as bitsandbytes sees it: weights are repacked in place, and read by another kernel."""

    def repacked(weight, state):
        state.packing_format_for_cpu, state.as_it_was = True, weight.clone()
        return weight.flip(0), state

    def product(entering, _weight, out=None, state=None):
        from bitsandbytes.functional import dequantize_4bit

        state.packing_format_for_cpu = False
        matrix = dequantize_4bit(state.as_it_was, state)
        state.packing_format_for_cpu = True
        return entering.detach() @ matrix.T + 0 * entering.sum()

    monkeypatch.setattr(layers, "has_avx512bf16", lambda: True)
    monkeypatch.setattr(layers, "_convert_weight_packed_for_cpu", repacked)
    monkeypatch.setattr(products.F, "gemv_4bit", product)


def gradient_error(layer: layers.Linear4bit, matrix: torch.Tensor) -> float:
    entering = torch.linspace(-1, 1, 3 * layer.in_features).reshape(3, -1).requires_grad_()
    weights = torch.linspace(1, 2, 3 * layer.out_features).reshape(3, -1)
    (gradient,) = torch.autograd.grad(layer(entering), entering, weights)
    return float((gradient - weights @ matrix).norm() / (weights @ matrix).norm())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("quantization", ["nf4", "fp4"])
def test_gradients_after_serving_are_those_of_the_dequantized_matrices(
    tiny_model, bfloat16_units, family, quantization
):
    model = load(tiny_model(family, quantization=quantization))
    with torch.no_grad():
        model.network(torch.arange(9)[None] + 40)
    packed = [layer for layer in model.network.modules() if isinstance(layer, layers.Linear4bit)]
    assert len(packed) > 6
    for layer in packed:
        assert gradient_error(layer, dequantized(layer)) < 1e-5
    assert model.gradients.error < 1e-5


def test_without_the_precaution_the_gradients_are_refused(tiny_model, bfloat16_units, monkeypatch, run):
    monkeypatch.setattr("explaind_worker.models.loading.loading.keep_backward", lambda _network: None)
    model = load(tiny_model("llama", quantization="nf4"))
    assert model.gradients.error is None or model.gradients.error > 0.5
    with pytest.raises(GradientsUnavailable, match="quantized"):
        gradient_notes(model)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_what_was_measured_is_the_error_against_the_matrix(tiny_model, quantization):
    model = load(tiny_model("llama", quantization=quantization))
    assert model.gradients.error < packed_gradients_bound(quantization)
    assert len(gradient_notes(model)) == 1


def packed_gradients_bound(quantization: str) -> float:
    return 1e-5 if quantization == "nf4" else 1e-2


class Odd(torch.nn.Module):
    """A layer of some library, of which no gradient comes back, or another one."""

    in_features, out_features = 6, 5

    def __init__(self, factor: float | None) -> None:
        super().__init__()
        self.factor, self.matrix = factor, torch.linspace(-1, 1, 30).reshape(5, 6)

    def forward(self, entering):
        right = entering.detach() @ self.matrix.T
        return right if self.factor is None else right + self.factor * ((entering - entering.detach()) @ self.matrix.T)


@pytest.mark.parametrize(("factor", "error"), [(1.0, 0.0), (0.75, 0.25), (None, None)])
def test_the_error_of_a_layer_of_any_library_is_measured(factor, error):
    network = torch.nn.ModuleDict({"odd": Odd(factor), "even": torch.nn.Linear(6, 5)})
    network.device, network.dtype = torch.device("cpu"), torch.float32
    found = check_gradients(network)
    assert found.layer == "odd"
    assert found.error == (None if error is None else pytest.approx(error, abs=1e-6))


def test_nothing_is_measured_where_nothing_is_packed(loaded):
    assert packed_gradients.check_gradients(loaded("llama").network) is None
    assert loaded("llama").gradients is None
