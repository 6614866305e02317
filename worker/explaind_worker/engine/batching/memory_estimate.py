"""Memory estimate of a forward, beside the weights, made before it runs.

Memory peaks in one of four places: in a block's attention, in its MLP, in a norm that computes in float32, or at the
unembedding. Each is computed from the model's shape, in numbers per token; the results are upper bounds, within twice
of the allocator's peak (`tests/worker/engine/batching/test_memory_estimate.py` compares them). With oneDNN
(`models/structure/packed_weights.py`), a copy of the matrix in use and of attention's keys and values is added.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedConfig

from explaind_worker.models.loading.loaded import AnyModel, LoadedClassifier, LoadedModel
from explaind_worker.models.structure.packed_weights import packed_bytes, packs_weights

FLOAT_BYTES = 4
STREAM_COPIES = 4  # embedding, residual stream, its sum with the attention's output, and its norm
QUERY_COPIES = 5  # queries, their rotation in parts, the attention's output
KEY_COPIES = 4  # keys and values, the keys' rotation
MLP_COPIES = 4  # gate, its activation, the other half and the product
WIDE_MLP_COPIES = 5  # gate and up projection in one, or an activation written in Python
SCORE_COPIES = 3  # attention scores if materialized: scaled, masked or capped, and their softmax
RELATIVE_COPIES = 9  # content-to-position and position-to-content scores, gathered by int64 indices
DISTANCE_COPIES = 6  # embeddings of the distances: projected to keys and queries, repeated per row
MASK_BYTES = 5  # a mask as booleans and as the bias added to the scores
KEPT_HEADS = 4  # for a backward pass: queries or keys and values before and after rotation, and their results
KEPT_NORM = (2, 1)  # for a backward pass, of each norm's input: in float32 and in the stream's dtype
KEPT_GATED, KEPT_PLAIN, KEPT_PYTHON = 4, 2, 3  # of an MLP, and in addition if its activation is written in Python
KEPT_LOGITS = 6  # logits in float32, their softmax, and their gradients in the backward pass
INT8_COPIES = 2  # input of an 8-bit matrix as float16 and int8, and its output as int32
GATHERED = 4 << 20  # keys, and as many values, that tree attention gathers at once
SCORED = 4 << 20  # scores that it materializes at once if they are capped
CUDA_WORKSPACE = 64 << 20  # allocated by cuBLAS
PACKED_WORKSPACE = 16 << 10  # per thread while oneDNN multiplies: a float32 accumulator tile and block addresses
PACKED_ROWS = 64  # keys and values are padded to multiples of this many tokens, and heads to as many numbers

ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function")
PYTHON_ACTIVATIONS = frozenset({"gelu_new", "gelu_fast", "quick_gelu", "gelu_accurate"})
FUSED = frozenset({"sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"})


@dataclass(frozen=True)
class Footprint:
    """The properties of a model that determine its memory use. `width` is bytes per number of the residual stream.

    `layers` are those with a key/value cache: none in a classifier. `vocabulary` is the number of logits per position.
    """

    layers: int
    hidden: int
    heads: int
    key_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    width: int
    fused: bool = True
    writes_grouped: bool = False  # without a mask, and with shared key heads, scores are materialized
    slides: bool = False
    mlp_copies: int = MLP_COPIES
    mlp_kept: int = KEPT_GATED
    norms: int = 2  # per block
    depth: int = 0  # blocks whose activations are kept for the backward pass
    caps_logits: bool = False
    score_copies: int = SCORE_COPIES
    distances: int = 0  # for which attention has embeddings
    masks: int = 1  # held at once
    threads: int = 0  # of a CPU, each with its own block of attention scores
    scratch: int = 0  # independent of the batch: workspaces, and a quantized weight unpacked for use
    packs: bool = False  # products first copy their second factor into blocks (oneDNN)
    packed_block: int = 0  # bytes of the largest such copy of a block's weight
    packed_head: int = 0  # and of the unembedding's

    @classmethod
    def of(cls, model: AnyModel) -> "Footprint":
        """The footprint of a loaded model, or of its copy in bfloat16."""
        if model.copy_of is not None:
            return cls.of(model.copy_of).with_narrow_products(model.copy_of)
        return cls.of_causal(model) if isinstance(model, LoadedModel) else cls.of_classifier(model)

    def with_narrow_products(self, model: AnyModel) -> "Footprint":
        """The footprint with products in bfloat16, by a copy of the float32 `model`.

        Rounded inputs and outputs of products take less than the float32 intermediates they replace (a copy's MLP is
        half as wide); added is only the packed copy of the weight in use, where oneDNN makes one.
        """
        if not packs_weights(model.device, torch.bfloat16):
            return self
        inside = model.anatomy.blocks[0].module if isinstance(model, LoadedModel) else model.network
        head = packed_bytes(self.vocabulary, self.hidden) if isinstance(model, LoadedModel) else 0
        return replace(self, packed_block=_largest_packed(inside), packed_head=head)

    @classmethod
    def of_causal(cls, model: LoadedModel) -> "Footprint":
        """The footprint of a causal language model."""
        anatomy, config = model.anatomy, model.network.config.get_text_config()
        inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        activation = next((str(found) for name in ACTIVATIONS if (found := getattr(config, name, None))), "")
        block = anatomy.blocks[0]
        joined = hasattr(block.mlp, "gate_up_proj")
        fused = any(isinstance(child, torch.nn.GELU) for child in block.mlp.children())
        written_out = activation in PYTHON_ACTIVATIONS and not fused
        kept = KEPT_GATED if joined or hasattr(block.mlp, "gate_proj") else KEPT_PLAIN
        intermediate = int(inner or 4 * anatomy.hidden)
        key_heads = int(getattr(config, "num_key_value_heads", None) or anatomy.heads)
        width = torch.finfo(getattr(torch, model.dtype)).bits // 8
        on_gpu, packs = model.device.type == "cuda", packs_weights(model.device, getattr(torch, model.dtype))
        scratch = CUDA_WORKSPACE if on_gpu else 0
        if model.quantization is not None:
            scratch += 2 * FLOAT_BYTES * anatomy.hidden * max(intermediate, 3 * anatomy.hidden)
        copies = WIDE_MLP_COPIES if joined or written_out else MLP_COPIES
        return cls(
            layers=len(anatomy.blocks),
            depth=len(anatomy.blocks),
            hidden=anatomy.hidden,
            heads=anatomy.heads,
            key_heads=key_heads,
            head_dim=anatomy.head_dim,
            intermediate=intermediate,
            vocabulary=anatomy.vocabulary,
            width=width,
            fused=config._attn_implementation in FUSED,
            # CUDA's fused kernels for shared key heads do not support float32.
            writes_grouped=on_gpu and width == FLOAT_BYTES and key_heads != anatomy.heads,
            slides=getattr(config, "sliding_window", None) is not None,
            mlp_copies=copies + (INT8_COPIES if model.quantization == "int8" else 0),
            mlp_kept=kept + (KEPT_PYTHON if written_out else 0),
            norms=sum("norm" in type(module).__name__.lower() for module in block.module.modules()),
            caps_logits=anatomy.logit_softcap is not None,
            threads=0 if on_gpu else torch.get_num_threads(),
            scratch=scratch,
            packs=packs,
            packed_block=_largest_packed(block.module) if packs else 0,
            packed_head=packed_bytes(anatomy.vocabulary, anatomy.hidden) if packs else 0,
        )

    @classmethod
    def of_classifier(cls, model: LoadedClassifier) -> "Footprint":
        """The footprint of a classifier of any family: its widest matrix counts as its MLP."""
        network, config = model.network, model.network.config.get_text_config()
        hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
        tables = {id(m.weight) for m in network.modules() if isinstance(m, torch.nn.Embedding)}
        matrices = [w for w in network.parameters() if w.dim() == 2 and id(w) not in tables]
        widest = max(4 * hidden, *(max(w.shape) for w in matrices if w.is_floating_point()))
        on_gpu, quantized = model.device.type == "cuda", model.quantization is not None
        packs = packs_weights(model.device, network.dtype)
        scratch = CUDA_WORKSPACE if on_gpu else 0
        return cls(
            layers=0,
            depth=int(config.num_hidden_layers),
            hidden=hidden,
            heads=heads,
            key_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(config, "head_dim", None) or -(-hidden // heads)),
            intermediate=widest,
            vocabulary=len(model.classes),
            width=torch.finfo(network.dtype).bits // 8,
            fused=config._attn_implementation in FUSED,
            slides=getattr(config, "sliding_window", None) is not None,
            mlp_copies=WIDE_MLP_COPIES + (INT8_COPIES if model.quantization == "int8" else 0),
            score_copies=SCORE_COPIES + (RELATIVE_COPIES if (distances := _distances(config)) else 0),
            distances=distances,
            masks=3 if hasattr(config, "local_attention") else 1,
            threads=0 if on_gpu else torch.get_num_threads(),
            scratch=scratch + (2 * FLOAT_BYTES * hidden * widest if quantized else 0),
            packs=packs,
            packed_block=_largest_packed(network) if packs else 0,
        )

    def forward_bytes(self, rows: int, tokens: int, *, reads: int = 1, cached: bool = False) -> int:
        """Peak bytes of a forward of `rows` of `tokens` each, with logits at `reads` positions.

        With `cached`, keys and values are kept, or a shared prefix was evaluated before; `tokens` is then the whole
        length.
        """
        places = rows * tokens
        stream = places * STREAM_COPIES * self.hidden * self.width
        inside = max(self._attention(rows, tokens, masked=cached), self._mlp(places), self._norm(places))
        kept = self.cache_bytes(rows, tokens) if cached else 0
        return stream + self._fullest(inside, self.logit_bytes(rows * reads)) + kept

    @property
    def key_width(self) -> int:
        """Numbers per token in all key heads together; the values have as many."""
        return self.key_heads * self.head_dim

    def tree_bytes(self, nodes: int, longest: int, *, reads: int = 1) -> int:
        """Peak bytes of a forward of `nodes` nodes of a tree with rows of at most `longest` tokens.

        Logits are computed in slices of `reads` positions.
        """
        own = nodes * (QUERY_COPIES * self.heads * self.head_dim + KEY_COPIES * self.key_width)
        gathered = 2 * max(longest * self.key_width, min(GATHERED, nodes * longest * self.key_width))
        # Keys and values of the carried row precede those of the nodes.
        attention = (own + gathered + 2 * longest * self.key_width) * self.width
        attention += nodes * longest * (2 + self.heads // self.key_heads) * self.width  # masks
        if not self.fused:
            attention += (
                SCORE_COPIES * FLOAT_BYTES * max(self.heads * longest, min(SCORED, nodes * self.heads * longest))
            )
        if self.packs:
            attention += gathered * self._packing
        stream = nodes * STREAM_COPIES * self.hidden * self.width
        inside = max(attention, self._mlp(nodes), self._norm(nodes))
        return stream + self._fullest(inside, self.logit_bytes(reads)) + 2 * self.cache_bytes(1, longest)

    def tree_nodes(self, budget: int, longest: int, *, reads: int, most: int) -> int:
        """The number of nodes, up to `most`, whose forward fits in `budget` bytes; at least one."""
        return 1 + bisect_right(range(2, most + 1), budget, key=lambda n: self.tree_bytes(n, longest, reads=reads))

    def graph_bytes(self, rows: int, tokens: int, *, reads: int = 1) -> int:
        """Peak bytes of a forward and backward pass, to the embeddings, of `rows` of `tokens` each.

        Activations that a layer's backward pass needs are kept until then; weights have no gradients.
        """
        places = rows * tokens
        in_float, in_width = KEPT_NORM
        numbers = KEPT_HEADS * (self.heads + self.key_heads) * self.head_dim + self.mlp_kept * self.intermediate
        layer = places * (
            numbers * self.width + self.norms * self.hidden * (in_float * FLOAT_BYTES + in_width * self.width)
        )
        if not self.fused or self.writes_grouped:
            layer += rows * self.heads * tokens * tokens * SCORE_COPIES * FLOAT_BYTES
        if self.slides or not self.fused:
            layer += rows * tokens * tokens * self.width
        logits = rows * reads * self.vocabulary * (KEPT_LOGITS * FLOAT_BYTES + self.width)
        passing = self.forward_bytes(rows, tokens, reads=reads)
        return self.depth * layer + logits + passing

    def cache_bytes(self, rows: int, tokens: int) -> int:
        """Bytes of the keys and values of all layers."""
        return self.layers * rows * tokens * 2 * self.key_heads * self.head_dim * self.width

    def logit_bytes(self, places: int) -> int:
        """Bytes for turning logits at that many positions into log-probabilities."""
        converted = 0 if self.width == FLOAT_BYTES else FLOAT_BYTES
        capped = 2 * self.width if self.caps_logits else 0
        return places * self.vocabulary * (max(self.width + converted + FLOAT_BYTES, self.width + capped))

    def _fullest(self, inside: int, logits: int) -> int:
        """The larger of a block's and the unembedding's bytes, plus each one's bytes independent of the batch."""
        workspaces = self.threads * PACKED_WORKSPACE if self.packed_block else 0
        return max(inside + self.packed_block, logits + self.packed_head) + workspaces + self.scratch

    @property
    def _packing(self) -> int:
        """Bytes of packed keys or values per number: repeated for every head, and padded."""
        padded = -(-self.head_dim // PACKED_ROWS) * PACKED_ROWS
        return -(-self.heads * padded // self.key_width) * self.width

    def _attention(self, rows: int, tokens: int, *, masked: bool) -> int:
        queries = QUERY_COPIES * self.heads * self.head_dim
        # With a mask, keys and values are repeated for every head that shares them.
        keys = KEY_COPIES * self.key_heads * self.head_dim + (2 * self.heads * self.head_dim if masked else 0)
        total = rows * tokens * (queries + keys) * self.width
        if self.fused and not (self.writes_grouped and not masked):
            total += self.threads * _block_of_scores(tokens) * (FLOAT_BYTES + self.width)
        else:
            total += rows * self.heads * tokens * tokens * self.score_copies * max(self.width, FLOAT_BYTES)
        if self.distances:
            total += rows * self.distances * self.hidden * DISTANCE_COPIES * self.width
            total += 2 * rows * self.heads * tokens * self.distances * FLOAT_BYTES
        if masked or self.slides or not self.fused:
            total += rows * tokens * tokens * MASK_BYTES * self.masks
        if self.packs:
            whole = -(-tokens // PACKED_ROWS) * PACKED_ROWS
            total += rows * whole * 2 * self.key_width * self._packing
        return total

    def _mlp(self, places: int) -> int:
        return places * self.mlp_copies * self.intermediate * self.width

    def _norm(self, places: int) -> int:
        return places * 3 * self.hidden * FLOAT_BYTES


def _largest_packed(module: torch.nn.Module) -> int:
    """Bytes of the largest packed copy of a matrix in that module; embedding tables are looked up, not packed."""
    tables = {id(child.weight) for child in module.modules() if isinstance(child, torch.nn.Embedding)}
    matrices = (weight for weight in module.parameters() if weight.dim() == 2 and id(weight) not in tables)
    return max((packed_bytes(*weight.shape) for weight in matrices if weight.is_floating_point()), default=0)


def _distances(config: PreTrainedConfig) -> int:
    """Number of distances for which attention has embeddings (DeBERTa); 0 in most models."""
    if not getattr(config, "relative_attention", False):
        return 0
    buckets = getattr(config, "position_buckets", 0)
    return 2 * int(buckets if buckets and buckets > 0 else config.max_position_embeddings)


def _block_of_scores(tokens: int) -> int:
    """Number of scores that torch's fused CPU attention holds at once in each thread."""
    queries = 256 if tokens >= 768 else 64 if tokens >= 192 else 32
    return min(queries, tokens) * min(512, tokens)
