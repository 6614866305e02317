"""What a run computes at the places where another run can be edited."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch

from explaind_worker.engine.activations.interventions import Place
from explaind_worker.engine.activations.recorded import recorded
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.loading.loading import LoadedModel
from explaind_worker.models.structure.hook_points import Part

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
    meter: CostMeter,
) -> Recording:
    """What the clean run of these tokens computes, in the model's own type and where it is; of a block what it adds."""
    wanted = list(dict.fromkeys(places))
    parts: list[Part] = list(dict.fromkeys(part for place in wanted for part in PARTS[place]))
    found = recorded(model, token_ids, parts, layers=sorted(layers), meter=meter)
    made: Recording = {}
    for layer in layers:
        for place in wanted:
            first, *others = (found[layer, part] for part in PARTS[place])
            made[layer, place] = sum(others, first)
    return made


def recording_bytes(footprint: Footprint, positions: int, places: Iterable[Place], layers: int) -> int:
    """What a recording of so many positions takes up, with the parts that a block's is the sum of."""
    wanted = set(places)
    parts = {part for place in wanted for part in PARTS[place]}
    heads = footprint.heads * footprint.head_dim
    width = sum(heads if part == "heads" else footprint.hidden for part in parts)
    return layers * positions * (width + ("block" in wanted) * footprint.hidden) * footprint.width
