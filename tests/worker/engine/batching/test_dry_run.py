"""The seam between forwards that are made and forwards that are counted."""

import pytest
import torch

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import computed, forward, input_device, placeholder, verdict
from explaind_worker.models.pool.pool import ModelPool


def fail() -> None:
    raise AssertionError("must not be called")


@pytest.fixture
def meta_model(tiny_model):
    return ModelPool().meta_model(tiny_model("llama"))


def test_a_forward_holds_the_lock_in_inference_mode_and_is_counted_when_made(loaded):
    model, meter = loaded("llama"), CostMeter()

    def run() -> tuple[bool, bool, int]:
        return model.lock.locked(), torch.is_inference_mode_enabled(), meter.forwards

    found = forward(model, run, placeholder=fail, meter=meter, tokens=6, reads=2, bytes=100)
    assert found == (True, True, 0)
    assert not model.lock.locked()
    assert (meter.forwards, meter.tokens_evaluated, meter.reads, meter.tokens_back) == (1, 6, 2, 0)
    assert meter.expected_bytes == 0, "memory is only foreseen where nothing is made"


def test_a_forward_whose_gradient_goes_back_has_gradients(loaded):
    meter = CostMeter()
    with torch.no_grad():
        found = forward(
            loaded("llama"),
            lambda: (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
            placeholder=lambda: (False, False),
            meter=meter,
            tokens=6,
            back=True,
        )
    assert found == (True, False)
    assert meter.tokens_back == 6


def test_a_forward_that_fails_is_not_counted_and_frees_the_lock(loaded):
    model, meter = loaded("llama"), CostMeter()
    with pytest.raises(AssertionError):
        forward(model, fail, placeholder=fail, meter=meter, tokens=6)
    assert meter == CostMeter()
    assert not model.lock.locked()


def test_without_weights_it_is_counted_and_answered_with_the_placeholder(meta_model):
    meter = CostMeter()
    for needed in (300, 100):
        found = forward(meta_model, fail, placeholder=lambda: "made up", meter=meter, tokens=6, reads=2, bytes=needed)
        assert found == "made up"
    assert (meter.forwards, meter.tokens_evaluated, meter.reads) == (2, 12, 4)
    assert meter.expected_bytes == 300
    assert computed(meta_model, fail, placeholder=lambda: 3) == 3
    assert input_device(meta_model) == torch.device("cpu")


def test_a_model_is_probed_once_and_never_without_weights(loaded, meta_model):
    model, probed = loaded("llama"), []

    def probe(model) -> str:
        probed.append(model)
        return "too odd"

    try:
        assert [verdict(model, "a_test", probe) for _ in range(2)] == ["too odd"] * 2
        assert probed == [model]
        assert verdict(meta_model, "a_test", probe) is None
        meta_model.verdicts["a_test"] = "known of its twin"
        assert verdict(meta_model, "a_test", probe) == "known of its twin"
        assert probed == [model]
    finally:
        model.verdicts.pop("a_test", None)


def test_placeholders_are_the_same_for_the_same_key_and_never_all_equal():
    drawn = placeholder(b"some key", (2, 5))
    assert drawn.shape == (2, 5)
    assert (drawn == placeholder(b"some key", (2, 5))).all()
    assert (drawn != placeholder(b"another key", (2, 5))).all()
    assert -2.0 <= drawn.min() < drawn.max() < 0.0
