"""What a run computes at the places where another run can be edited."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch

from explaind_worker.engine.interventions import Place
from explaind_worker.engine.meter import Meter
from explaind_worker.engine.recorded import recorded
from explaind_worker.models.anatomy import Anatomy
from explaind_worker.models.loading import LoadedModel
from explaind_worker.models.stream import Part

FLOAT_BYTES = 4
PARTS: Mapping[Place, tuple[Part, ...]] = {
    "residual": ("entering",),
    "heads": ("heads",),
    "attention": ("attention",),
    "mlp": ("mlp",),
    "block": ("attention", "mlp"),
}

# layer and place -> [position, hidden], of heads [position, head, head_dim]
Recording = dict[tuple[int, Place], torch.Tensor]


def recording(
    model: LoadedModel,
    token_ids: Sequence[int],
    places: Iterable[Place],
    layers: Collection[int],
    *,
    meter: Meter,
) -> Recording:
    """What the clean run of these tokens computes, in float32 on the model's device; of a block what it adds."""
    wanted = list(dict.fromkeys(places))
    parts = dict.fromkeys(part for place in wanted for part in PARTS[place])
    found = recorded(model, token_ids, tuple(parts), layers=sorted(layers), meter=meter)
    return {
        (layer, place): torch.stack([found[layer, part] for part in PARTS[place]]).sum(0)
        if len(PARTS[place]) > 1
        else found[layer, PARTS[place][0]]
        for layer in layers
        for place in wanted
    }


def recording_bytes(anatomy: Anatomy, positions: int, places: Iterable[Place], layers: int) -> int:
    """What a recording of so many positions takes up, with the parts that a block's is the sum of."""
    parts = {part for place in places for part in PARTS[place]}
    width = sum(anatomy.heads * anatomy.head_dim if part == "heads" else anatomy.hidden for part in parts)
    blocks = anatomy.hidden if "block" in places else 0
    return layers * positions * (width + blocks) * FLOAT_BYTES
