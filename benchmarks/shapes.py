"""Models and prompts for benchmarks: real shapes with random weights, and prompts with exact token counts.

The cost of a forward does not depend on the weights' values; a wide initialisation makes attributions visible.
"""

import shutil
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from explaind_worker.models.demo import MODEL_DIR

SPECIAL = ("<pad>", "<eos>", "<unk>", "<mask>")
MASK_ID = SPECIAL.index("<mask>")


@dataclass(frozen=True)
class Shape:
    """A configuration of a family: everything but the weights."""

    name: str
    family: str
    vocabulary: int
    fields: dict[str, Any] = field(hash=False)

    def save(self, folder: Path, *, device: str = "cpu", dtype: str = "float32") -> Path:
        """Writes a model with weights of a fixed seed, and its tokenizer, to that directory, and returns the directory.

        Weights are drawn on that device, where billions take seconds rather than minutes, and stored in that dtype.
        """
        if self.family == DEMO_FAMILY:
            shutil.copytree(MODEL_DIR, folder, dirs_exist_ok=True)
            return folder
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            self.family,
            vocab_size=self.vocabulary,
            initializer_range=0.05,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
            **self.fields,
        )
        with torch.device(device):
            network = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        network.save_pretrained(folder)
        tokenizer_of(self.vocabulary).save_pretrained(folder)
        return folder

    def tiny(self) -> "Shape":
        """The same family with two narrow layers, for trial runs."""
        return replace(self, name=f"tiny-{self.family}", vocabulary=400, fields=TINY_FIELDS[self.family])


GPT2 = Shape("gpt2-small", "gpt2", 50_257, {"n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024})
LLAMA = Shape(
    "llama-small",
    "llama",
    32_000,
    {
        "num_hidden_layers": 15,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    },
)
LLAMA_1B = Shape(
    "llama-1b",
    "llama",
    128_256,
    {
        "num_hidden_layers": 16,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    },
)


LLAMA_8B = Shape(
    "llama-8b",
    "llama",
    128_256,
    {
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    },
)
GEMMA2_2B = Shape(
    "gemma2-2b",
    "gemma2",
    256_000,
    {
        "num_hidden_layers": 26,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 4096,
        "sliding_window": 4096,
    },
)


def shapes_on(device: str) -> tuple[Shape, ...]:
    """The shapes measured on that kind of device: on an accelerator a small model is dominated by kernel launches."""
    return (GPT2, LLAMA) if device == "cpu" else (GPT2, LLAMA_1B)


DEMO_FAMILY = "demo"
DEMO = Shape("demo", DEMO_FAMILY, 0, {})
"""No made-up weights: the built-in model, trained."""
TINY_FIELDS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 256},
    "llama": {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
    },
    "gemma2": {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "sliding_window": 16,
    },
}


def tokenizer_of(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer with that vocabulary size: four special tokens, the others made-up words (w000004, w000005, …)."""
    words = {word: index for index, word in enumerate([*SPECIAL, *(f"w{i:06}" for i in range(4, vocabulary))])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))  # noqa: S106 - a word of the vocabulary
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, end, unknown, mask = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, eos_token=end, bos_token=end, unk_token=unknown, mask_token=mask
    )


@dataclass(frozen=True)
class Prompt:
    """Words of one token each: first `prefix` that are always present, then the units, then the target."""

    token_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    prefix: int

    @classmethod
    def drawn(cls, vocabulary: int, units: int, *, target: int, prefix: int = 0) -> "Prompt":
        """Drawn with a fixed seed, no word twice: a peer that identifies tokens by id cannot confuse them."""
        generator = np.random.default_rng(0)
        ids = generator.choice(np.arange(len(SPECIAL), vocabulary), size=prefix + units + target, replace=False)
        listed = tuple(int(i) for i in ids)
        return cls(listed[: prefix + units], listed[prefix + units :], prefix)

    @property
    def units(self) -> int:
        """Number of explained tokens."""
        return len(self.token_ids) - self.prefix

    @cached_property
    def text(self) -> str:
        """The prompt."""
        return written(self.token_ids)

    @cached_property
    def target(self) -> str:
        """The target, with its leading space."""
        return " " + written(self.target_ids)

    def groups(self, count: int) -> np.ndarray:
        """For each unit's token [unit] the index of its group, of `count` groups of neighbours."""
        return np.arange(self.units) * count // self.units

    def segments(self, count: int) -> dict[str, list[tuple[int, int]]]:
        """The request's units for `count` groups of neighbouring tokens; the prefix is outside of all."""
        owners, width = self.groups(count), len("w000000 ")
        firsts = [int(np.flatnonzero(owners == group)[0]) for group in range(count)]
        ends = [*firsts[1:], self.units]
        return {
            "segments": [
                ((self.prefix + first) * width, (self.prefix + end) * width - 1)
                for first, end in zip(firsts, ends, strict=True)
            ]
        }


def written(token_ids: tuple[int, ...]) -> str:
    """The words of those tokens."""
    return " ".join(f"w{i:06}" for i in token_ids)
