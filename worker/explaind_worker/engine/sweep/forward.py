"""Forward with a growing batch: an edited run joins it at the layer where it first differs from the clean run.

Nothing below that layer is recomputed, nor its attention if only later activations differ. In the last block only the
positions that are read pass the output projection and the MLP.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from explaind_worker.engine.activations.interventions import Edit, EditPoint, Variant
from explaind_worker.models.structure.anatomy import Anatomy, Block
from explaind_worker.models.structure.hook_points import first_of
from explaind_worker.models.structure.position_subset import only_rows

Handle = torch.utils.hooks.RemovableHandle
Arguments = tuple[torch.Tensor, ...]
Named = dict[str, torch.Tensor]
Written = Callable[[nn.Module, object, torch.Tensor | Arguments], object]

START = (-1, False)  # before the first layer


class SweepPass:
    """The rows of one forward: `bases` with their own tokens, then the edited runs, as they join.

    Row r from `bases` on is a copy of the base `base_of[r]` that joins where its variant first differs; a base may have
    a variant, too. `first` are the positions of the rows' first tokens (those before it are in a cache). If `reads`
    [base, read] is given, the last block's resid_post there is kept as `read` [row, read, hidden].
    """

    def __init__(
        self,
        anatomy: Anatomy,
        variants: Sequence[Variant],
        base_of: Sequence[int],
        *,
        bases: int,
        reads: torch.Tensor | None = None,
        first: Sequence[int] | None = None,
        growing: bool = True,
    ) -> None:
        entries = [START] * bases + [variant.entry if growing else START for variant in variants[bases:]]
        if entries != sorted(entries):
            raise ValueError("Runs must come in the order in which they join.")
        self.bases = bases if growing else len(variants)
        self.read = torch.empty(0)
        self._anatomy = anatomy
        device = next(anatomy.unembedding.parameters()).device if reads is None else reads.device
        self._base_of = torch.tensor(list(base_of), device=device)
        self._reads = None if reads is None else reads.index_select(0, self._base_of)
        self._first = list(first or [0] * len(variants))
        self._edits = _by_point(variants)
        self._present = [_present(layer, entries) for layer in range(len(anatomy.blocks))]

    @property
    def row_blocks(self) -> int:
        """Number of rows passing each block, summed over the blocks."""
        return sum(present for _, _, present in self._present)

    def attended(self, layer: int, rows: torch.Tensor) -> torch.Tensor:
        """The rows whose keys and values `rows` use in that layer: their bases' if they joined after it."""
        _, asking, _ = self._present[layer]
        return torch.where(rows < asking, rows, self._base_of.to(rows.device)[rows])

    @contextmanager
    def attached(self, *, narrow: bool = True) -> Iterator[None]:
        """Context in which a forward of the bases' tokens runs this pass. The model's lock must be held.

        With `narrow` the last block's projections are computed only at the positions read.
        """
        blocks = self._anatomy.blocks
        narrowed = self._reads if narrow else None
        with ExitStack() as stack:
            if narrowed is not None:  # before edits, which are per position
                stack.enter_context(only_rows(blocks[-1].mlp, narrowed))
            for layer, block in enumerate(blocks):
                for handle in self._hooks(layer, block):
                    stack.callback(handle.remove)
            if narrowed is not None:  # after rows have joined
                stack.enter_context(only_rows(blocks[-1].output_projection, narrowed))
            yield

    def _hooks(self, layer: int, block: Block) -> list[Handle]:
        before, asking, present = self._present[layer]

        def enter(_module: nn.Module, args: Arguments, kwargs: Named) -> tuple[Arguments, Named]:
            return _with_first(args, kwargs, self._joined(layer, "resid_pre", _first_in(args, kwargs), before, present))

        def ask(_module: nn.Module, args: Arguments, kwargs: Named) -> tuple[Arguments, Named]:
            mask = kwargs.get("attention_mask")
            if isinstance(mask, torch.Tensor) and len(mask) < asking:  # purely causal, and so the same for every row
                kwargs = {**kwargs, "attention_mask": mask[:1]}
            return _with_first(args, kwargs, _first_in(args, kwargs)[:asking])

        def mix(_module: nn.Module, args: Arguments) -> object:
            return (self._joined(layer, "z", args[0], asking, present), *args[1:])

        def leave(_module: nn.Module, _args: object, output: torch.Tensor | Arguments) -> object:
            left = first_of(output)
            if self._reads is not None and layer == len(self._anatomy.blocks) - 1:
                self.read = left.gather(1, self._reads.unsqueeze(-1).expand(-1, -1, left.shape[-1]))
                left = left[: self.bases]  # the network continues as if no row had joined
            return _like(output, left)

        return [
            block.module.register_forward_pre_hook(enter, with_kwargs=True),
            block.attention.register_forward_pre_hook(ask, with_kwargs=True),
            block.output_projection.register_forward_pre_hook(mix),
            block.attention_write.register_forward_hook(self._written(layer, "attn_out")),
            block.mlp_write.register_forward_hook(self._written(layer, "mlp_out")),
            block.module.register_forward_hook(leave),
        ]

    def _joined(self, layer: int, point: EditPoint, passing: torch.Tensor, before: int, present: int) -> torch.Tensor:
        """The activations after rows `before` to `present` joined as copies of their bases, with edits applied."""
        if present == before:
            return self._edited(layer, point, passing)
        copies = passing.index_select(0, self._base_of[before:present])
        return self._edited(layer, point, torch.cat([passing, copies]), own=True)

    def _written(self, layer: int, point: EditPoint) -> Written:
        def written(_module: nn.Module, _args: object, output: torch.Tensor | Arguments) -> object:
            return _like(output, self._edited(layer, point, first_of(output)))

        return written

    def _edited(self, layer: int, point: EditPoint, passing: torch.Tensor, *, own: bool = False) -> torch.Tensor:
        """The activations with their rows' edits; a copy unless they are this pass's `own`."""
        edits = self._edits.get((layer, point))
        if edits is None:
            return passing
        changed = passing if own else passing.clone()
        heads = (self._anatomy.heads, self._anatomy.head_dim)
        shown = changed.unflatten(-1, heads) if point == "z" else changed
        for row, edit in edits:
            edit.apply(shown[row], self._first[row])
        return changed


def _by_point(variants: Sequence[Variant]) -> dict[tuple[int, EditPoint], list[tuple[int, Edit]]]:
    """For each layer and hook point the edited rows, with their edits."""
    found: dict[tuple[int, EditPoint], list[tuple[int, Edit]]] = {}
    for row, variant in enumerate(variants):
        for edit in variant.edits:
            found.setdefault((edit.layer, edit.point), []).append((row, edit))
    return found


def _present(layer: int, entries: Sequence[tuple[int, bool]]) -> tuple[int, int, int]:
    """Number of rows before this block, in its attention, and after it."""
    before = sum(entry < (layer, False) for entry in entries)
    asking = before + sum(entry == (layer, False) for entry in entries)
    return before, asking, asking + sum(entry == (layer, True) for entry in entries)


def _first_in(args: Arguments, kwargs: Named) -> torch.Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _with_first(args: Arguments, kwargs: Named, hidden: torch.Tensor) -> tuple[Arguments, Named]:
    return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})


def _like(output: torch.Tensor | Arguments, hidden: torch.Tensor) -> torch.Tensor | Arguments:
    """A module's output with its hidden states replaced."""
    return hidden if isinstance(output, torch.Tensor) else (hidden, *output[1:])
