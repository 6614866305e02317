"""Finds the parts of a causal language model by its structure, independent of its family's names.

Recognised: GPT-2, Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3, GPT-NeoX, Phi and Phi-3, and any with the same structure.
The result is trusted only after `self_check.check` has compared it with the model's own logits.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from explaind.contract.errors import SelfCheckFailed

ATTENTION = ("self_attn", "attn", "attention")
OUTPUT_PROJECTION = ("o_proj", "c_proj", "dense", "out_proj")
MLP = ("mlp", "feed_forward")
FINAL_NORM = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


@dataclass(frozen=True)
class Block:
    """One layer: its attention and MLP, and the modules whose outputs are added to the residual stream."""

    module: nn.Module
    attention: nn.Module
    output_projection: nn.Module
    mlp: nn.Module
    attention_write: nn.Module
    mlp_write: nn.Module


@dataclass(frozen=True)
class Anatomy:
    """The parts of a causal language model that explanations read or change.

    `heads` query heads of `head_dim` each enter a block's output projection concatenated; that is where the outputs of
    heads are separate. `logit_scale` and `logit_softcap` are applied after unembedding. `position_embeddings` are
    tables that are added to the token's embedding before the first block (GPT-2).
    """

    blocks: tuple[Block, ...]
    final_norm: nn.Module
    unembedding: nn.Module
    heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    logit_scale: float
    logit_softcap: float | None
    position_embeddings: tuple[nn.Module, ...] = ()

    def final_logits(self, unembedded: torch.Tensor) -> torch.Tensor:
        """Logits from the unembedding's output: scaled, then soft-capped if the family does so."""
        logits = unembedded * self.logit_scale
        if self.logit_softcap is not None:
            logits = self.logit_softcap * torch.tanh(logits / self.logit_softcap)
        return logits


def anatomy_of(network: PreTrainedModel) -> Anatomy:
    """The parts of `network`.

    Raises:
        SelfCheckFailed: a part cannot be found, so that explanations of this model would be unreliable.
    """
    base = network.base_model
    blocks = tuple(_block(module) for module in _block_list(base))
    unembedding = network.get_output_embeddings()
    if unembedding is None:
        raise _missing("the unembedding", network)
    config = network.config.get_text_config()
    heads = int(config.num_attention_heads)
    head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    entering = _input_width(blocks[0].output_projection)
    if entering is not None and entering != heads * head_dim:
        raise SelfCheckFailed(
            f"The output projection reads {entering} numbers, which are not {heads} heads of {head_dim}.",
            hint="This architecture is not supported; please report it with the model's config.json.",
        )
    return Anatomy(
        blocks=blocks,
        final_norm=_child(base, FINAL_NORM, "the final norm"),
        unembedding=unembedding,
        heads=heads,
        head_dim=head_dim,
        hidden=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        logit_scale=_logit_scale(config),
        logit_softcap=getattr(config, "final_logit_softcapping", None),
        position_embeddings=_position_tables(base, network.get_input_embeddings()),
    )


def _position_tables(base: nn.Module, tokens: nn.Module) -> tuple[nn.Module, ...]:
    return tuple(child for child in base.children() if isinstance(child, nn.Embedding) and child is not tokens)


def _logit_scale(config: object) -> float:
    # Cohere multiplies its logits, Granite divides them.
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        return 1.0 / float(divisor)
    scale = getattr(config, "logit_scale", None)
    return 1.0 if scale is None else float(scale)


def _block_list(base: nn.Module) -> nn.ModuleList:
    lists = [child for child in base.children() if isinstance(child, nn.ModuleList) and len(child)]
    if not lists:
        raise _missing("a list of blocks", base)
    return max(lists, key=len)


def _block(module: nn.Module) -> Block:
    attention = _child(module, ATTENTION, "the attention of a block")
    mlp = _child(module, MLP, "the MLP of a block")
    # Gemma 2 and 3 norm the outputs of attention and MLP before the addition; elsewhere a norm of that name precedes.
    post_norms = hasattr(module, "post_feedforward_layernorm")
    return Block(
        module=module,
        attention=attention,
        output_projection=_child(attention, OUTPUT_PROJECTION, "the output projection of the attention"),
        mlp=mlp,
        attention_write=module.get_submodule("post_attention_layernorm") if post_norms else attention,
        mlp_write=module.get_submodule("post_feedforward_layernorm") if post_norms else mlp,
    )


def _child(module: nn.Module, names: tuple[str, ...], what: str) -> nn.Module:
    for name, child in module.named_children():
        if name in names:
            return child
    raise _missing(what, module)


def _input_width(projection: nn.Module) -> int | None:
    if (width := getattr(projection, "in_features", None)) is not None:
        return int(width)
    # GPT-2's Conv1D stores its weight as [in, out].
    weight = getattr(projection, "weight", None)
    return int(weight.shape[0]) if isinstance(weight, torch.Tensor) and weight.dim() == 2 else None


def _missing(what: str, module: nn.Module) -> SelfCheckFailed:
    return SelfCheckFailed(
        f"{what[0].upper()}{what[1:]} was not found in {type(module).__name__}.",
        hint="This architecture is not supported; supported are GPT-2, Llama, Mistral, Qwen, Gemma, GPT-NeoX and Phi.",
    )
