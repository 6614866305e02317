"""Peers of the head sweep: zero one attention head after another, with hooks and a loop.

All of them zero the head at the input of the output projection, where the outputs of heads are separate. Each peer
returns [head, question] for the heads of `layers` layers.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.alternating import Array
from benchmarks.drawn_questions import DrawnQuestions
from benchmarks.workbench import Workbench
from explaind_worker.models.structure.anatomy import anatomy_of


@contextmanager
def without_head(network: Any, layer: int, head: int) -> Iterator[None]:
    """Context in which the head's output is zero."""
    anatomy = anatomy_of(network)
    width = anatomy.head_dim

    def zero(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        changed = args[0].clone()
        changed[..., head * width : (head + 1) * width] = 0
        return (changed, *args[1:])

    handle = anatomy.blocks[layer].output_projection.register_forward_pre_hook(zero)
    try:
        yield
    finally:
        handle.remove()


def _heads(network: Any, layers: int) -> Iterator[tuple[int, int]]:
    heads = anatomy_of(network).heads
    return ((layer, head) for layer in range(layers) for head in range(heads))


def one_by_one(bench: Workbench, asked: DrawnQuestions, layers: int) -> Array:
    """Log-probabilities of the answers, one forward per head and question."""
    rows = []
    for layer, head in _heads(bench.network, layers):
        with without_head(bench.network, layer, head), torch.no_grad():
            rows.append([_answered(bench, *pair) for pair in zip(asked.prompts, asked.answers, strict=True)])
    return np.array(rows)


def _answered(bench: Workbench, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    logits = bench.network(bench.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, bench.tensor(answer)[:, None]).sum())


def batched(bench: Workbench, asked: DrawnQuestions, layers: int) -> Array:
    """The same with all questions in one batch, padded on the left: one forward per head."""
    network, answers = bench.network, bench.tensor(asked.answers)
    rows = [[*prompt, *answer] for prompt, answer in zip(asked.prompts, asked.answers, strict=True)]
    longest = max(map(len, rows))
    ids = bench.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = bench.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    places = (mask.cumsum(1) - 1).clamp(min=0)
    found = []
    for layer, head in _heads(network, layers):
        with without_head(network, layer, head), torch.no_grad():
            logits = network(input_ids=ids, attention_mask=mask, position_ids=places).logits
        read = logits[:, -answers.shape[1] - 1 : -1].log_softmax(-1)
        found.append(read.gather(2, answers[..., None])[..., 0].sum(1).double().cpu().numpy())
    return np.array(found, dtype=np.float64)


def generated(bench: Workbench, asked: DrawnQuestions, layers: int, *, new_tokens: int) -> Array:
    """The tokens [head, question, token] of greedy continuations, with one call of `generate` per head and question."""
    network = bench.network
    found = []
    for layer, head in _heads(network, layers):
        with without_head(network, layer, head), torch.no_grad():
            found.append([_continued(bench, prompt, new_tokens) for prompt in asked.prompts])
    return np.array(found, dtype=np.float64)


def _continued(bench: Workbench, prompt: tuple[int, ...], new_tokens: int) -> list[int]:
    network: Any = bench.network
    ids = bench.tensor([prompt])
    mask = torch.ones_like(ids)
    said = network.generate(ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0)
    tokens = said[0, len(prompt) :].tolist()
    ends = network.generation_config.eos_token_id
    return padded(tokens[:-1] if tokens[-1] in (ends if isinstance(ends, list) else [ends]) else tokens, new_tokens)


def padded(said: list[int], new_tokens: int) -> list[int]:
    """A continuation padded with a value that is not a token id."""
    return [*said, *[-1] * (new_tokens - len(said))]


def hooked_transformer(bench: Workbench, asked: DrawnQuestions, layers: int) -> Array:
    """Log-probabilities by a HookedTransformer's `run_with_hooks`, per head and question."""
    return _run_with_hooks(_hooked(bench), bench, asked, layers)


def transformer_bridge(bench: Workbench, asked: DrawnQuestions, layers: int) -> Array:
    """The same by a TransformerBridge, its successor in TransformerLens 4."""
    return _run_with_hooks(_bridge(bench), bench, asked, layers)


def _run_with_hooks(lens: Any, bench: Workbench, asked: DrawnQuestions, layers: int) -> Array:
    rows = []
    for layer, head in _heads(bench.network, layers):

        def zero(z: torch.Tensor, hook: object, head: int = head) -> torch.Tensor:
            z[:, :, head] = 0
            return z

        hooks = [(f"blocks.{layer}.attn.hook_z", zero)]
        row = []
        for prompt, answer in zip(asked.prompts, asked.answers, strict=True):
            with torch.no_grad():
                logits = lens.run_with_hooks(bench.tensor([[*prompt, *answer]]), return_type="logits", fwd_hooks=hooks)[
                    0, len(prompt) - 1 : -1
                ]
            row.append(float(logits.log_softmax(-1).gather(1, bench.tensor(answer)[:, None]).sum()))
        rows.append(row)
    return np.array(rows)


@cache
def _hooked(bench: Workbench) -> Any:
    """The peers' GPT-2 as a HookedTransformer, without its own loader, which requests the config from the hub."""
    lens: Any = importlib.import_module("transformer_lens")
    config_of: Any = importlib.import_module("transformer_lens.config.hooked_transformer_config")
    conversion: Any = importlib.import_module("transformer_lens.pretrained.weight_conversions.gpt2")
    config = bench.network.config
    asked = config_of.HookedTransformerConfig(
        n_layers=config.n_layer,
        d_model=config.n_embd,
        n_ctx=config.n_positions,
        d_head=config.n_embd // config.n_head,
        n_heads=config.n_head,
        d_mlp=4 * config.n_embd,
        act_fn="gelu_new",
        d_vocab=config.vocab_size,
        normalization_type="LN",
        eps=config.layer_norm_epsilon,
        device=str(bench.device),
        seed=0,
    )
    hooked = lens.HookedTransformer(asked, tokenizer=None)
    weights = {
        name: value.detach().clone() for name, value in conversion.convert_gpt2_weights(bench.network, asked).items()
    }
    unexpected = hooked.load_state_dict(weights, strict=False).unexpected_keys
    if unexpected:
        raise RuntimeError(f"TransformerLens did not take the weights: {unexpected[0]} is unknown to it.")
    hooked.unembed.b_U.data.zero_()
    return hooked.eval()


@cache
def _bridge(bench: Workbench) -> Any:
    """The peers' network as a TransformerBridge; a copy, since it modifies its argument."""
    bridge: Any = importlib.import_module("transformer_lens.model_bridge").TransformerBridge
    network, device = deepcopy(bench.network), str(bench.device)
    return bridge.boot_transformers("gpt2", hf_model=network, tokenizer=bench.tokenizer, device=device)
