"""How many bytes a forward takes up beside the weights, told before it runs.

A forward is at its fullest in one of four places: in a block's attention, in its MLP, in a norm that computes in
float32, or at the unembedding. Each place is counted in numbers per token from the model's shape; the counts are upper
bounds, within twice of what the allocator sees (`tests/worker/engine/test_memory.py` compares them).
"""

from dataclasses import dataclass

import torch

from explaind_worker.models.loading import LoadedModel

FLOAT_BYTES = 4
STREAM_COPIES = 4  # embedding, residual stream, its sum with the attention's output, and its norm
QUERY_COPIES = 5  # queries, their rotation in parts, the attention's output
KEY_COPIES = 4  # keys and values, the keys' rotation
MLP_COPIES = 4  # gate, its activation, the other half and the product
WIDE_MLP_COPIES = 5  # gate and other half in one, or an activation that is written out in Python
SCORE_COPIES = 3  # attention scores where they are written out: scaled, masked or capped, and their softmax
MASK_BYTES = 5  # a mask as booleans and as what is added to the scores
INT8_COPIES = 2  # what enters an 8-bit matrix as float16 and int8, and what leaves it as int32
CUDA_WORKSPACE = 64 << 20  # what cuBLAS takes for itself

ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function")
PYTHON_ACTIVATIONS = frozenset({"gelu_new", "gelu_fast", "quick_gelu", "gelu_accurate"})
FUSED = frozenset({"sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"})


@dataclass(frozen=True)
class Footprint:
    """A model's shape, as far as its memory depends on it. `width` is bytes of a number of the residual stream."""

    layers: int
    hidden: int
    heads: int
    key_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    width: int
    fused: bool = True
    slides: bool = False
    mlp_copies: int = MLP_COPIES
    caps_logits: bool = False
    threads: int = 0  # of a CPU, each of which keeps a block of attention scores
    scratch: int = 0  # whatever the batch: workspaces, and a weight that is unpacked while it is used

    @classmethod
    def of(cls, model: LoadedModel) -> "Footprint":
        """The footprint of a loaded model."""
        anatomy, config = model.anatomy, model.network.config.get_text_config()
        inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        activation = next((str(found) for name in ACTIVATIONS if (found := getattr(config, name, None))), "")
        joined = hasattr(anatomy.blocks[0].mlp, "gate_up_proj")
        intermediate = int(inner or 4 * anatomy.hidden)
        on_gpu = model.device.type == "cuda"
        scratch = CUDA_WORKSPACE if on_gpu else 0
        if model.entry.quantization is not None:
            scratch += 2 * FLOAT_BYTES * anatomy.hidden * max(intermediate, 3 * anatomy.hidden)
        copies = WIDE_MLP_COPIES if joined or activation in PYTHON_ACTIVATIONS else MLP_COPIES
        return cls(
            layers=len(anatomy.blocks),
            hidden=anatomy.hidden,
            heads=anatomy.heads,
            key_heads=int(getattr(config, "num_key_value_heads", None) or anatomy.heads),
            head_dim=anatomy.head_dim,
            intermediate=intermediate,
            vocabulary=anatomy.vocabulary,
            width=torch.finfo(getattr(torch, model.dtype)).bits // 8,
            fused=config._attn_implementation in FUSED,
            slides=getattr(config, "sliding_window", None) is not None,
            mlp_copies=copies + (INT8_COPIES if model.entry.quantization == "int8" else 0),
            caps_logits=anatomy.logit_softcap is not None,
            threads=0 if on_gpu else torch.get_num_threads(),
            scratch=scratch,
        )

    def forward_bytes(self, rows: int, tokens: int, *, reads: int = 1, cached: bool = False) -> int:
        """Most bytes in use at once while `rows` of `tokens` each go through, their logits read at `reads` places.

        With `cached` their keys and values are kept, or beginnings that they share were evaluated before them; what
        counts is then the whole length.
        """
        places = rows * tokens
        stream = places * STREAM_COPIES * self.hidden * self.width
        inside = max(self._attention(rows, tokens, masked=cached), self._mlp(places), self._norm(places))
        kept = self.cache_bytes(rows, tokens) if cached else 0
        return stream + max(inside, self.logit_bytes(rows * reads)) + kept + self.scratch

    def cache_bytes(self, rows: int, tokens: int) -> int:
        """Bytes of the keys and values of every layer."""
        return self.layers * rows * tokens * 2 * self.key_heads * self.head_dim * self.width

    def logit_bytes(self, places: int) -> int:
        """Bytes while logits at so many places are turned into log-probabilities."""
        converted = 0 if self.width == FLOAT_BYTES else FLOAT_BYTES
        capped = 2 * self.width if self.caps_logits else 0
        return places * self.vocabulary * (max(self.width + converted + FLOAT_BYTES, self.width + capped))

    def _attention(self, rows: int, tokens: int, *, masked: bool) -> int:
        queries = QUERY_COPIES * self.heads * self.head_dim
        # Where a mask is needed keys and values are repeated for every head that shares them.
        keys = KEY_COPIES * self.key_heads * self.head_dim + (2 * self.heads * self.head_dim if masked else 0)
        total = rows * tokens * (queries + keys) * self.width
        if self.fused:
            total += self.threads * _block_of_scores(tokens) * (FLOAT_BYTES + self.width)
        else:
            total += rows * self.heads * tokens * tokens * SCORE_COPIES * max(self.width, FLOAT_BYTES)
        if masked or self.slides or not self.fused:
            total += rows * tokens * tokens * MASK_BYTES
        return total

    def _mlp(self, places: int) -> int:
        return places * self.mlp_copies * self.intermediate * self.width

    def _norm(self, places: int) -> int:
        return places * 3 * self.hidden * FLOAT_BYTES


def _block_of_scores(tokens: int) -> int:
    """How many scores torch's fused attention on a CPU has at once in each thread."""
    queries = 256 if tokens >= 768 else 64 if tokens >= 192 else 32
    return min(queries, tokens) * min(512, tokens)
