"""Tiny models whose rotary factors depend on a row's length, and the reference: every row alone, in one forward."""

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from explaind_worker.models.structure.anatomy import Anatomy, anatomy_of

BORDER = 16
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "short_factor": [1.0 + 0.1 * place for place in range(8)],
    "long_factor": [3.0 + 2.0 * place for place in range(8)],
    "original_max_position_embeddings": BORDER,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}
BY_LAYER = {"head_dim": 16, "sliding_window": 6, "layer_types": ["full_attention", "sliding_attention"]}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
# The family and its fields; the border of all is 16 tokens.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": ("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": BORDER}),
    "dynamic": ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": BORDER}),
    "by_layer": (
        "gemma3_text",
        {
            **BY_LAYER,
            "num_hidden_layers": 2,
            "rope_parameters": {"full_attention": LONGROPE, "sliding_attention": PLAIN},
        },
    ),
    # A class of its own, which scales what it turns.
    "own_class": (
        "phimoe",
        {
            "rope_parameters": {**LONGROPE, "short_mscale": 1.0, "long_mscale": 1.6},
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
        },
    ),
}
CLASSIFIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": KINDS["longrope"],
    "dynamic": KINDS["dynamic"],
    "by_layer": (
        "modernbert",
        {
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "local_attention": 8,
            "cls_token_id": 1,
            "sep_token_id": 2,
            "rope_parameters": {"full_attention": LONGROPE, "sliding_attention": PLAIN},
        },
    ),
}


def save_rotary(folder: Path, kind: str, tokenizer: PreTrainedTokenizerFast, *, classifier: bool = False) -> None:
    """Writes the tiny model of that kind with random weights."""
    torch.manual_seed(0)
    family, fields = (CLASSIFIERS if classifier else KINDS)[kind]
    config = AutoConfig.for_model(
        family, **{"vocab_size": len(tokenizer), "initializer_range": 0.2, **ENDS, **SHAPE, **fields}
    )
    make: Any = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
    make.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Alone:
    """A model read one row at a time as plain transformers reads it that has read nothing before."""

    def __init__(self, folder: Path, *, classifier: bool = False) -> None:
        make: Any = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
        self._network: PreTrainedModel = make.from_pretrained(folder).eval()
        found = [
            name for name, _ in self._network.named_modules() if name.endswith(("rotary_emb", "rotary_embeddings"))
        ]
        self._untouched = {name: copy.deepcopy(self._network.get_submodule(name)) for name in found}

    def network(self) -> PreTrainedModel:
        """The model with rotary modules that have read nothing; it is the same one each time."""
        for name, module in self._untouched.items():
            self._network.set_submodule(name, copy.deepcopy(module))
        return self._network

    @cached_property
    def anatomy(self) -> Anatomy:
        """Its parts, for hooks."""
        return anatomy_of(self._network)

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """[position, vocabulary], of a classifier [class]."""
        with torch.inference_mode():
            return self.network()(input_ids=torch.tensor([list(ids)])).logits[0]

    def logprobs(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """Of each token of the continuation; its last one is not read."""
        found = self.logits([*prompt, *continuation[:-1]]).log_softmax(-1)[len(prompt) - 1 :]
        return [float(row[token]) for row, token in zip(found, continuation, strict=True)]

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The likeliest continuation, every token after one forward of all before it."""
        said: list[int] = []
        while len(said) < count:
            said.append(int(self.logits([*prompt, *said])[-1].argmax()))
        return said
