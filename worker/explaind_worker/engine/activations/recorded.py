"""What passed through a model while it read one prompt."""

from collections.abc import Collection, Sequence

import torch

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.loading.loading import LoadedModel
from explaind_worker.models.loading.meta_model import MetaModel
from explaind_worker.models.structure.hook_points import Part, watching

Recorded = dict[tuple[int, Part], torch.Tensor]


def recorded(
    model: LoadedModel,
    token_ids: Sequence[int],
    parts: Collection[Part],
    *,
    meter: CostMeter,
    layers: Collection[int] | None = None,
    positions: Sequence[int] | None = None,
) -> Recorded:
    """By layer and part what passed, [position, hidden] or of heads [position, head, head_dim], in the model's type.

    With `positions` only those are kept, in that order. On a model without weights it is zeros.
    """
    anatomy = model.anatomy
    wanted = range(len(anatomy.blocks)) if layers is None else layers
    meter.forward(len(token_ids))
    if isinstance(model, MetaModel):
        places = len(token_ids if positions is None else positions)
        heads = (anatomy.heads, anatomy.head_dim)
        return {
            (layer, part): torch.zeros(places, *(heads if part == "heads" else (anatomy.hidden,)))
            for layer in wanted
            for part in parts
        }
    found: Recorded = {}
    kept = None if positions is None else torch.tensor(list(positions), device=model.device)

    def keep(layer: int, part: Part, passing: torch.Tensor) -> None:
        found[layer, part] = passing[0].clone() if kept is None else passing[0].index_select(0, kept)

    ids = torch.tensor([list(token_ids)], device=model.device)
    with model.lock, torch.inference_mode(), watching(anatomy, keep, parts, wanted):
        model.network.base_model(input_ids=ids, use_cache=False)
    return found
