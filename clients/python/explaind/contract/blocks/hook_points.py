"""Hook points: where activations of a model are read or written, by TransformerLens's names.

A hook point is a position in the computation; a component (an attention head, an attention, an MLP, a block) is a
module. A component's output is a hook point: `z` of a head, `attn_out` of an attention, `mlp_out` of an MLP. A block
writes the last two.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from explaind.contract.errors import InvalidRequest
from explaind.contract.near_miss import near_miss

HookPointName = Literal[
    "embed", "pos_embed", "resid_pre", "z", "pattern", "attn_out", "resid_mid", "mlp_out", "resid_post"
]
# Hook points of the residual stream in a layer, and of the outputs added to it.
StreamPoint = Literal["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"]

STREAM = ("position", "hidden")


@dataclass(frozen=True)
class HookPointSpec:
    """The activation at a hook point, its axes for one prompt, and its name in TransformerLens.

    `hook_name` contains `{layer}` if every layer has the point.
    """

    meaning: str
    axes: tuple[str, ...]
    hook_name: str

    @property
    def by_layer(self) -> bool:
        """Whether every layer has one."""
        return "{layer}" in self.hook_name


HOOK_POINTS: Mapping[HookPointName, HookPointSpec] = {
    "embed": HookPointSpec("The token's embedding, scaled where the family scales it (Gemma).", STREAM, "hook_embed"),
    "pos_embed": HookPointSpec(
        "The position's embedding, in families that add one to the stream (GPT-2).", STREAM, "hook_pos_embed"
    ),
    "resid_pre": HookPointSpec("The residual stream as it enters the block.", STREAM, "blocks.{layer}.hook_resid_pre"),
    "z": HookPointSpec(
        "What each head computes, before the output projection mixes the heads.",
        ("position", "head", "head_dim"),
        "blocks.{layer}.attn.hook_z",
    ),
    "pattern": HookPointSpec(
        "The attention weights of each head.", ("head", "query", "key"), "blocks.{layer}.attn.hook_pattern"
    ),
    "attn_out": HookPointSpec(
        "What the attention adds to the stream, behind a norm that follows it (Gemma 2 and 3).",
        STREAM,
        "blocks.{layer}.hook_attn_out",
    ),
    "resid_mid": HookPointSpec(
        "The stream after the attention: resid_pre + attn_out. Blocks whose attention and MLP run side by side "
        "(GPT-NeoX, Phi) never compute it; it is that sum there too.",
        STREAM,
        "blocks.{layer}.hook_resid_mid",
    ),
    "mlp_out": HookPointSpec(
        "What the MLP adds to the stream, behind a norm that follows it (Gemma 2 and 3).",
        STREAM,
        "blocks.{layer}.hook_mlp_out",
    ),
    "resid_post": HookPointSpec(
        "The stream as it leaves the block: resid_pre + attn_out + mlp_out.", STREAM, "blocks.{layer}.hook_resid_post"
    ),
}

_PATTERNS: Mapping[HookPointName, re.Pattern[str]] = {
    name: re.compile(re.escape(spec.hook_name).replace(re.escape("{layer}"), r"(0|[1-9][0-9]{0,5})"))
    for name, spec in HOOK_POINTS.items()
}


class HookPoint(NamedTuple):
    """A hook point of one layer; `layer` is None for those outside the layers (`embed`, `pos_embed`)."""

    name: HookPointName
    layer: int | None = None

    @property
    def hook_name(self) -> str:
        """Its name in TransformerLens and SAELens: `blocks.8.hook_resid_post`."""
        return HOOK_POINTS[self.name].hook_name.format(layer=self.layer)


def parse_hook_name(hook_name: str, *, pointer: str = "/hook_name") -> HookPoint:
    """The hook point with that name in TransformerLens and SAELens.

    Raises:
        InvalidRequest: the name is unknown; the error points to `pointer`, the hint has the nearest names.
    """
    for name, pattern in _PATTERNS.items():
        if (found := pattern.fullmatch(hook_name)) is not None:
            return HookPoint(name, int(found[1]) if HOOK_POINTS[name].by_layer else None)
    layer = int(next(iter(re.findall(r"[0-9]{1,6}", hook_name)), "0"))
    known = [spec.hook_name.format(layer=layer) for spec in HOOK_POINTS.values()]
    raise InvalidRequest.at(
        pointer, f"There is no hook point {hook_name[:100]!r}.", hint=near_miss(hook_name[:100], known)
    )
