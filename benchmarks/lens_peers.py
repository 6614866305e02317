"""Peers of the logit lens: all hidden states, and a softmax over the vocabulary for all or each of them."""

import torch

from benchmarks.alternating import Array
from benchmarks.shapes import Prompt
from benchmarks.workbench import Workbench
from explaind_worker.models.structure.anatomy import anatomy_of


def hidden_states(bench: Workbench, prompt: Prompt, top: int) -> Array:
    """Probabilities [layer, position, rank] of the likeliest tokens, by `output_hidden_states` and the unembedding."""
    network, anatomy = bench.network, anatomy_of(bench.network)
    with torch.no_grad():
        states = network(bench.tensor([prompt.token_ids]), output_hidden_states=True).hidden_states
        likeliest = []
        for layer, state in enumerate(states):
            normed = state if layer == len(states) - 1 else anatomy.final_norm(state)  # the last one is already normed
            likeliest.append(anatomy.unembedding(normed).softmax(-1).topk(top, -1).values[0])
    return torch.stack(likeliest).double().cpu().numpy()


def all_at_once(bench: Workbench, prompt: Prompt, top: int) -> Array:
    """The same with all layers unembedded together, as in a notebook."""
    network, anatomy = bench.network, anatomy_of(bench.network)
    with torch.no_grad():
        *states, last = network(bench.tensor([prompt.token_ids]), output_hidden_states=True).hidden_states
        normed = torch.cat([anatomy.final_norm(torch.cat(states)), last])
        return anatomy.unembedding(normed).softmax(-1).topk(top, -1).values.double().cpu().numpy()
