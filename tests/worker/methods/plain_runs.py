"""The reference of ablations and patches: a plain forward per changed run, by plain hooks, in float64."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from explaind_worker.models.structure.anatomy import anatomy_of

# what passes, [position, hidden] or of z [position, head, head_dim] -> what shall pass instead
Change = Callable[[torch.Tensor], torch.Tensor]
Changes = Sequence[tuple[int, str, Change]]


class Plain:
    """A model in float64 that is run once per question."""

    def __init__(self, model) -> None:
        self.network = copy.deepcopy(model.network).double()
        self.anatomy = anatomy_of(self.network)

    def logits(self, ids: Sequence[int], changes: Changes = ()) -> torch.Tensor:
        """[position, vocabulary]"""
        with torch.no_grad(), self._changed(changes):
            return self.network(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]

    def logprob(self, prompt: Sequence[int], answer: Sequence[int], changes: Changes = ()) -> float:
        """Of all of the answer's tokens."""
        logprobs = self.logits([*prompt, *answer], changes).log_softmax(-1)
        return sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer))

    def difference(
        self, prompt: Sequence[int], answer: Sequence[int], foil: Sequence[int], changes: Changes = ()
    ) -> float:
        """Of the logits of answer and foil, at the first token where they differ."""
        apart = next(i for i, (one, other) in enumerate(zip(answer, foil, strict=False)) if one != other)
        last = self.logits([*prompt, *answer[:apart]], changes)[-1]
        return float(last[answer[apart]] - last[foil[apart]])

    def seen(self, ids: Sequence[int], layer: int, point: str) -> torch.Tensor:
        """What passes there in the clean run."""
        kept = []

        def keep(passing: torch.Tensor) -> torch.Tensor:
            kept.append(passing.clone())
            return passing

        self.logits(ids, [(layer, point, keep)])
        return kept[0]

    @contextmanager
    def _changed(self, changes: Changes) -> Iterator[None]:
        handles = []
        for layer, point, change in changes:
            block = self.anatomy.blocks[layer]
            if point in {"resid_pre", "z"}:
                module = block.module if point == "resid_pre" else block.output_projection
                handles.append(module.register_forward_pre_hook(self._before(point, change), with_kwargs=True))
                continue
            written = {"attn_out": block.attention_write, "mlp_out": block.mlp_write, "module": block.attention}[point]
            handles.append(written.register_forward_hook(_after(change)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, point: str, change: Change):
        shape = (self.anatomy.heads, self.anatomy.head_dim)

        def hook(_module, args, kwargs):
            passing = args[0] if args else kwargs["hidden_states"]
            row = passing[0].unflatten(-1, shape) if point == "z" else passing[0]
            changed = change(row.clone())
            new = (changed.flatten(-2) if point == "z" else changed)[None]
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        return hook


def _after(change: Change):
    def hook(_module, _args, output):
        first = output if isinstance(output, torch.Tensor) else output[0]
        new = change(first[0].clone())[None]
        return new if isinstance(output, torch.Tensor) else (new, *output[1:])

    return hook


def put(value: torch.Tensor | float, *, heads: Sequence[int] = (), first: int = 0) -> Change:
    """`value` in the place of what passes from position `first` on, of `heads` alone where they are named.

    A value of several positions gives each its own, and those after its end the last.
    """

    def change(passing: torch.Tensor) -> torch.Tensor:
        new = value
        if isinstance(value, torch.Tensor):
            places = torch.arange(len(passing) - first).clamp(max=len(value) - 1)
            new = value[places]
        if heads:
            passing[first:, list(heads)] = new
        else:
            passing[first:] = new
        return passing

    return change
