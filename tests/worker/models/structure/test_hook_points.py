import pytest
import torch

from explaind_worker.models.structure.hook_points import watching
from tests.support.families import REPRESENTATIVES


def seen_in(model, parts, layers=None):
    seen, ids = {}, torch.tensor([[1, 9, 8, 7], [1, 5, 6, 7]])
    with torch.inference_mode(), watching(model.anatomy, lambda i, p, x: seen.update({(i, p): x}), parts, layers):
        hidden = model.network(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
    return seen, hidden


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_the_stream_is_that_of_the_models_own_hidden_states(loaded, family):
    seen, hidden = seen_in(loaded(family), ("entering", "attention", "mlp", "leaving"))
    for layer in range(3):
        torch.testing.assert_close(seen[layer, "entering"], hidden[layer])
        added = seen[layer, "entering"] + seen[layer, "attention"] + seen[layer, "mlp"]
        torch.testing.assert_close(added, seen[layer, "leaving"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_heads_are_what_enters_the_output_projection(loaded, family):
    model = loaded(family)
    seen, _ = seen_in(model, ("heads",), layers=[1])
    assert set(seen) == {(1, "heads")}
    heads = seen[1, "heads"]
    assert heads.shape == (2, 4, model.anatomy.heads, model.anatomy.head_dim)
    attention, projection = model.anatomy.blocks[1].attention, model.anatomy.blocks[1].output_projection
    kept = []
    handle = attention.register_forward_hook(lambda _m, _a, output: kept.append(output[0]))
    try:
        seen_in(model, ())
    finally:
        handle.remove()
    torch.testing.assert_close(projection(heads.flatten(-2)), kept[0], atol=1e-5, rtol=1e-4)


def test_nothing_is_watched_afterwards(loaded):
    model = loaded("llama")
    with watching(model.anatomy, lambda *_: pytest.fail("watched"), ("entering", "heads", "attention", "leaving")):
        pass
    with torch.inference_mode():
        model.network(input_ids=torch.tensor([[1, 9, 8, 7]]), use_cache=False)
