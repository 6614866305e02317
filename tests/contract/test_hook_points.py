"""The hook points' names, here, in TransformerLens and in the glossary."""

import re
from pathlib import Path
from typing import get_args

import pytest

from explaind.contract.blocks.hook_points import HOOK_POINTS, HookPoint, HookPointName, StreamPoint, parse_hook_name
from explaind.contract.errors import InvalidRequest

GLOSSARY = Path(__file__).parents[2] / "docs" / "reference" / "glossary.md"


@pytest.mark.parametrize("name", HOOK_POINTS)
def test_a_name_survives_the_way_to_transformer_lens_and_back(name):
    layers = (0, 7, 120) if HOOK_POINTS[name].by_layer else (None,)
    for layer in layers:
        point = HookPoint(name, layer)
        assert parse_hook_name(point.hook_name) == point
    assert len({HookPoint(name, layer).hook_name for layer in layers}) == len(layers)


@pytest.mark.parametrize(
    ("hook_name", "point"),
    [
        ("blocks.8.hook_resid_post", HookPoint("resid_post", 8)),
        ("blocks.3.attn.hook_z", HookPoint("z", 3)),
        ("blocks.12.attn.hook_pattern", HookPoint("pattern", 12)),
        ("hook_embed", HookPoint("embed")),
        ("hook_pos_embed", HookPoint("pos_embed")),
    ],
)
def test_the_names_are_those_of_transformer_lens(hook_name, point):
    assert parse_hook_name(hook_name) == point
    assert point.hook_name == hook_name


@pytest.mark.parametrize(
    ("hook_name", "near"),
    [
        ("blocks.3.hook_z", "blocks.3.attn.hook_z"),
        ("blocks.8.hook_resid", "blocks.8.hook_resid_post"),
        ("blocks.08.hook_mlp_out", "blocks.8.hook_mlp_out"),
        ("blocks.1.hook_attn_out.hook_sae_acts_post", "blocks.1.hook_attn_out"),
        ("resid_post", "hook_resid_post"),
        ("", "hook_embed"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(hook_name, near):
    with pytest.raises(InvalidRequest) as caught:
        parse_hook_name(hook_name, pointer="/sae/hook_name")
    assert near in (caught.value.hint or "")
    assert [field.pointer for field in caught.value.errors] == ["/sae/hook_name"]


def test_the_table_has_every_name_once():
    assert tuple(HOOK_POINTS) == get_args(HookPointName)
    assert set(get_args(StreamPoint)) < set(HOOK_POINTS)
    assert len({spec.hook_name for spec in HOOK_POINTS.values()}) == len(HOOK_POINTS)


def test_the_glossary_has_the_same_table():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| `(.+)` \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [
        (name, spec.meaning, ", ".join(spec.axes), spec.hook_name.format(layer="L"))
        for name, spec in HOOK_POINTS.items()
    ]
