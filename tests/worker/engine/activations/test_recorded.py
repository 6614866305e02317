import pytest
import torch

from explaind_worker.engine.activations.recorded import recorded
from explaind_worker.engine.batching.cost_meter import CostMeter

PROMPT = (1, 9, 8, 7, 30, 31)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "phi"])
def test_what_is_recorded_is_the_models_own_stream(loaded, family):
    model, meter = loaded(family), CostMeter()
    found = recorded(model, PROMPT, ("entering", "attention", "mlp"), meter=meter)
    with torch.inference_mode():
        hidden = model.network(input_ids=torch.tensor([PROMPT]), output_hidden_states=True).hidden_states
    for layer in range(2):
        torch.testing.assert_close(found[layer, "entering"], hidden[layer][0])
        after = found[layer, "entering"] + found[layer, "attention"] + found[layer, "mlp"]
        torch.testing.assert_close(after, hidden[layer + 1][0], atol=1e-4, rtol=1e-4)
    assert (meter.forwards, meter.tokens_evaluated) == (1, len(PROMPT))


def test_chosen_layers_and_positions_are_kept_alone(loaded):
    model = loaded("llama")
    whole = recorded(model, PROMPT, ("heads",), meter=CostMeter())
    found = recorded(model, PROMPT, ("heads",), meter=CostMeter(), layers=[2], positions=[5, 0])
    assert set(found) == {(2, "heads")}
    torch.testing.assert_close(found[2, "heads"], whole[2, "heads"][[5, 0]])
    assert found[2, "heads"].shape == (2, model.anatomy.heads, model.anatomy.head_dim)
