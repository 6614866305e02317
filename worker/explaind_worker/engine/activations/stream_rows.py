"""Rows of the residual stream at chosen positions, of one text and several layers and streams."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch

from explaind.contract.blocks.lens import Stream
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.loading.loading import LoadedModel
from explaind_worker.models.structure.hook_points import Part, watching
from explaind_worker.models.structure.logits_at import only_positions

# A stream's name in the contract, and the layer it is read at.
Reading = tuple[Stream, int]

# The parts that a stream is the sum of.
_PARTS: dict[Stream, tuple[Part, ...]] = {
    "embedding": ("entering",),
    "attention": ("attention",),
    "middle": ("entering", "attention"),
    "mlp": ("mlp",),
    "block": ("leaving",),
}


def stream_rows(
    model: LoadedModel,
    token_ids: Sequence[int],
    positions: Sequence[int],
    readings: Sequence[Reading],
    *,
    meter: CostMeter,
) -> torch.Tensor:
    """[reading, position, hidden], picked up while one forward of the text runs; logits of one place are made."""
    device = model.device
    ids, chosen = torch.tensor([list(token_ids)], device=device), torch.tensor(list(positions), device=device)
    places: dict[tuple[int, Part], list[int]] = {}
    for place, (stream, layer) in enumerate(readings):
        for part in _PARTS[stream]:
            places.setdefault((layer, part), []).append(place)
    # A stream that is a sum is added up as its parts come.
    kept = torch.zeros((len(readings), len(chosen), model.anatomy.hidden), dtype=model.network.dtype, device=device)

    def see(layer: int, part: Part, passing: torch.Tensor) -> None:
        rows = passing[0].index_select(0, chosen)
        for place in places[layer, part]:
            kept[place] += rows

    with model.lock, torch.inference_mode(), ExitStack() as hooks:
        layers_of: dict[Part, list[int]] = {}
        for layer, part in places:
            layers_of.setdefault(part, []).append(layer)
        for part, layers in layers_of.items():
            hooks.enter_context(watching(model.anatomy, see, (part,), layers))
        hooks.enter_context(only_positions(model.anatomy.unembedding, torch.zeros_like(ids[:, :1])))
        model.network(input_ids=ids, use_cache=False)
        meter.forward(ids.shape[1], reads=len(readings) * len(chosen))
    return kept
