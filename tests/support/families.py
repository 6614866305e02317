"""Model families that tests build tiny models of, and what is particular about each.

A test of a core invariant takes all of them. One of what a method does with a model takes `REPRESENTATIVES`, or those
of a trait: `families("sliding")`.
"""

from typing import Any

# What a family's blocks have. `parallel`: attention and MLP read the same stream; `post_norm`: norms behind them, too;
# `softcap`: logits squeezed by tanh; `sliding`: attention to a window; `gqa`: key heads shared by query heads; `wide`:
# a head's width is not hidden / heads; `fused`: one matrix for queries, keys and values; `layer_norm`: not RMS.
TRAITS: dict[str, frozenset[str]] = {
    "gpt2": frozenset({"layer_norm", "fused", "learned_positions"}),
    "llama": frozenset({"gqa"}),
    "mistral": frozenset({"gqa", "sliding"}),
    "qwen2": frozenset({"gqa"}),
    "qwen3": frozenset({"gqa", "wide"}),
    "gemma": frozenset({"gqa", "wide"}),
    "gemma2": frozenset({"gqa", "wide", "post_norm", "softcap", "sliding"}),
    "gemma3_text": frozenset({"gqa", "wide", "post_norm", "sliding"}),
    "gpt_neox": frozenset({"layer_norm", "parallel", "fused"}),
    "phi": frozenset({"layer_norm", "parallel"}),
    "phi3": frozenset({"gqa", "fused"}),
}
ALL = list(TRAITS)
# Beside them, for one test each: cohere scales its logits.
UNUSUAL: dict[str, dict[str, Any]] = {"cohere": {"logit_scale": 0.25}}
# Together they have every trait; gpt_neox reads two norms in parallel, phi one.
REPRESENTATIVES = ["gpt2", "llama", "gemma2", "gpt_neox", "phi"]


def families(*traits: str, without: str = "") -> list[str]:
    """Those that have all of these traits, and not that one."""
    known = frozenset().union(*TRAITS.values())
    assert {*traits, *filter(None, [without])} <= known, f"traits are {sorted(known)}"
    return [family for family, has in TRAITS.items() if has >= set(traits) and without not in has]


def with_representatives(*traits: str) -> list[str]:
    """The representatives, and every family that has one of these traits."""
    return [family for family in ALL if family in REPRESENTATIVES or TRAITS[family] & set(traits)]


def shape_of(
    family: str,
    *,
    hidden: int = 64,
    intermediate: int = 128,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 32,
    positions: int = 128,
    window: int = 6,
) -> dict[str, Any]:
    """The fields of a configuration of that family with these sizes; key heads, width and window where it has them."""
    if family == "gpt2":
        return {"n_embd": hidden, "n_layer": layers, "n_head": heads, "n_positions": positions}
    has = TRAITS["llama" if family in UNUSUAL else family]
    shape = {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": positions,
    }
    shape |= {"num_key_value_heads": kv_heads} if "gqa" in has else {}
    shape |= {"head_dim": head_dim} if "wide" in has else {}
    shape |= {"sliding_window": window} if "sliding" in has else {}
    return shape | UNUSUAL.get(family, {})
