"""What the parts of a model write where logits are read: one forward, and nothing kept of the other places."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from explaind_worker.models.loading.loading import LoadedModel
from explaind_worker.models.structure.hook_points import Part, first_of, hooked, watching
from explaind_worker.models.structure.logits_at import only_positions

PARTS: tuple[Part, ...] = ("heads", "mlp")


@dataclass(frozen=True)
class ReadParts:
    """What one forward showed at the places that are read, on the CPU: [place, …] each.

    Of the stream what enters the first block, what the positions gave it, and what leaves the last; of each layer what
    its MLP added, and its heads [place, head, head_dim]. `unembedded` and `logits` stay on the model's device.
    """

    parts: dict[tuple[int, Part], torch.Tensor]
    position: torch.Tensor | None
    unembedded: torch.Tensor
    logits: torch.Tensor

    @classmethod
    def of(cls, model: LoadedModel, sequence: Sequence[int], places: Sequence[int]) -> "ReadParts":
        network, anatomy = model.network, model.anatomy
        at = torch.tensor([list(places)], device=model.device)
        parts: dict[tuple[int, Part], torch.Tensor] = {}
        added: list[torch.Tensor] = []
        raw: list[torch.Tensor] = []

        def keep(layer: int, part: Part, passing: torch.Tensor) -> None:
            parts[layer, part] = passing[0, at[0]].cpu()

        def keep_position(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            added.append(output.expand(1, len(sequence), -1)[0, at[0]].cpu())

        def keep_raw(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            raw.append(first_of(output)[0])

        last = len(anatomy.blocks) - 1
        ids = torch.tensor([list(sequence)], device=model.device)
        with (
            model.lock,
            torch.inference_mode(),
            hooked([(table, keep_position) for table in _position_tables(model)]),
            hooked([(anatomy.unembedding, keep_raw)]),
            watching(anatomy, keep, PARTS),
            watching(anatomy, keep, ["entering"], [0]),
            watching(anatomy, keep, ["leaving"], [last]),
            only_positions(anatomy.unembedding, at),
        ):
            logits = network(input_ids=ids, use_cache=False).logits[0]
        return cls(parts, sum(added[1:], added[0]) if added else None, raw[0], logits)


def _position_tables(model: LoadedModel) -> list[nn.Module]:
    """Embeddings that are added to the token's before the first block: GPT-2's of positions."""
    tokens = model.network.get_input_embeddings()
    children = model.network.base_model.children()
    return [child for child in children if isinstance(child, nn.Embedding) and child is not tokens]
