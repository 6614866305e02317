"""Direct logit attribution (Elhage et al. 2021), with the scales of the norms frozen.

With the scale of the final norm fixed, a logit is linear in the last resid_post, which is the sum of what the
embedding, every head and every MLP have written. So a token's unembedding direction is taken back through the final
norm (and, for heads, through a norm that follows the attention), and each component is projected onto it. The matrices
are applied only through the model's own modules, so their storage format does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from explaind.contract.blocks.hook_points import HookPoint
from explaind_worker.engine.activations.capture import Activations, capture
from explaind_worker.engine.activations.frozen_norm import FrozenNorm
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import computed
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.anatomy import Anatomy, Block
from explaind_worker.models.structure.hook_points import first_of, hooked
from explaind_worker.models.structure.logits_at import only_positions
from explaind_worker.models.structure.rotary_lengths import RotaryLengths

KEPT_BYTES = 256 << 20  # of components processed together


@dataclass(frozen=True)
class Read:
    """A token whose logit is split, predicted at the last of the tokens `before`.

    `row` is everything fed to the model, `before` and what follows; None for `before` alone.
    """

    before: tuple[int, ...]
    token: int
    row: tuple[int, ...] | None = None

    @property
    def read(self) -> tuple[int, ...]:
        """The tokens fed for this read."""
        return self.before if self.row is None else self.row


@dataclass(frozen=True)
class Split:
    """The logits of some reads as sums of contributions, all float64, one column per read.

    embed, pos_embed, bias [column]; heads [column, layer, head]; attention_bias, mlp_out [column, layer]. `logits` are
    the model's before a soft cap, `capped` after it, `logprobs` the model's log-probabilities.
    """

    embed: FloatArray
    pos_embed: FloatArray | None
    heads: FloatArray
    attention_bias: FloatArray
    mlp_out: FloatArray
    bias: FloatArray
    logits: FloatArray
    capped: FloatArray
    logprobs: FloatArray

    @property
    def sums(self) -> FloatArray:
        """Sum of the contributions, [column]."""
        return self._added(np.positive)

    @property
    def magnitudes(self) -> FloatArray:
        """Sum of the contributions' magnitudes, [column], the scale of rounding errors."""
        return self._added(np.abs)

    @classmethod
    def joined(cls, parts: Sequence["Split"], order: Sequence[int]) -> "Split":
        """All columns of the parts; column i of their concatenation goes to index order[i]."""
        places = np.argsort(order)

        def together(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else np.concatenate(values)[places]

        return cls(**{field.name: together(field.name) for field in fields(cls)})

    def _added(self, of: np.ufunc) -> FloatArray:
        position = np.zeros_like(self.bias) if self.pos_embed is None else self.pos_embed
        layers = of(self.heads).sum((1, 2)) + of(self.attention_bias).sum(1) + of(self.mlp_out).sum(1)
        return of(self.embed) + of(position) + of(self.bias) + layers


def split_logits(
    model: LoadedModel, reads: Sequence[Read], *, limits: BatchLimits, meter: CostMeter, report_progress: ReportProgress
) -> Split:
    """The logit of every read as a sum of contributions of the model's components.

    Reads whose rows are prefixes of the same tokens share a forward, if they have the same rotary factors; very many
    are processed in groups.

    Raises:
        SelfCheckFailed: a norm of this model is not a linear map with a scale.
    """
    plan = _plan(reads, _places_at_once(model.anatomy, limits), model.lengths)
    parts: list[Split] = []
    for done, (sequence, group) in enumerate(plan):
        report_progress("decomposing logits", done, len(plan), "forwards")
        places = sorted({len(reads[index].before) - 1 for index in group})
        seen = _ReadForward.of(model, sequence, places, meter)
        at = torch.tensor([places.index(len(reads[index].before) - 1) for index in group])
        tokens = torch.tensor([reads[index].token for index in group])
        splitting = _Splitting(model, seen, at, tokens, limits, Backoff(meter))
        nothing = partial(_placeholder, model.anatomy, len(group))
        parts.append(computed(model, splitting.split, placeholder=nothing))
    report_progress("decomposing logits", len(plan), len(plan), "forwards")
    return Split.joined(parts, [index for _, group in plan for index in group])


def _plan(reads: Sequence[Read], at_once: int, lengths: RotaryLengths) -> list[tuple[tuple[int, ...], list[int]]]:
    """Groups reads into forwards: the tokens to feed, and the indices of at most `at_once` reads."""

    def holds(sequence: tuple[int, ...], row: tuple[int, ...]) -> bool:
        return sequence[: len(row)] == row and lengths.alike((len(row), len(sequence)))

    longest: list[tuple[int, ...]] = []
    for row in sorted({read.read for read in reads}, key=len, reverse=True):
        if not any(holds(sequence, row) for sequence in longest):
            longest.append(row)
    groups: dict[tuple[int, ...], list[int]] = {sequence: [] for sequence in longest}
    for index, read in enumerate(reads):
        groups[next(sequence for sequence in longest if holds(sequence, read.read))].append(index)
    return [
        (sequence, group[start : start + at_once])
        for sequence, group in groups.items()
        for start in range(0, len(group), at_once)
    ]


def _places_at_once(anatomy: Anatomy, limits: BatchLimits) -> int:
    kept = len(anatomy.blocks) * (anatomy.heads * anatomy.head_dim + anatomy.hidden)
    return max(1, min(KEPT_BYTES // (4 * kept), limits.logits // anatomy.vocabulary))


@dataclass(frozen=True)
class _ReadForward:
    """One forward at the positions read: activations [place, …] on the CPU, and logits [place, vocabulary].

    `unembedded` is the unembedding's output, before a scale or a soft cap. It and `logits` stay on the model's device;
    in a dry run there are none.
    """

    activations: Activations
    unembedded: torch.Tensor
    logits: torch.Tensor

    @classmethod
    def of(cls, model: LoadedModel, sequence: Sequence[int], places: Sequence[int], meter: CostMeter) -> "_ReadForward":
        unembedding, found = model.anatomy.unembedding, {"unembedded": torch.empty(0), "logits": torch.empty(0)}

        def keep(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            found["unembedded"] = first_of(output)[0]

        def forward(ids: torch.Tensor) -> None:
            at = torch.tensor([list(places)], device=ids.device)
            with hooked([(unembedding, keep)]), only_positions(unembedding, at):
                found["logits"] = model.network(input_ids=ids, use_cache=False).logits[0]

        last = len(model.anatomy.blocks) - 1
        activations = capture(
            model,
            sequence,
            ["z", "mlp_out", HookPoint("pos_embed"), HookPoint("resid_pre", 0), HookPoint("resid_post", last)],
            positions=places,
            meter=meter,
            reads=len(places),
            device=torch.device("cpu"),
            forward=forward,
        )
        return cls(activations, **found)


@dataclass
class _Splitting:
    """Projects the activations of one forward onto the unembedding directions of its columns' tokens.

    `at` is each column's index among the positions read, `tokens` its token.
    """

    model: LoadedModel
    seen: _ReadForward
    at: torch.Tensor
    tokens: torch.Tensor
    limits: BatchLimits
    backoff: Backoff

    def split(self) -> Split:
        """The columns' logits as sums of contributions."""
        anatomy, seen = self.model.anatomy, self.seen
        rows, constant = self._unembedding()
        layers = range(len(anatomy.blocks))
        leaving = seen.activations[HookPoint("resid_post", layers[-1])][self.at]
        final = FrozenNorm.at(anatomy.final_norm, leaving)
        behind = anatomy.logit_scale * rows
        directions = final.through(behind)
        heads, biases = zip(*(self._heads(layer, directions) for layer in layers), strict=True)
        position = seen.activations.get(HookPoint("pos_embed"))
        pos_embed = None if position is None else self._along(position, directions)
        entering = self._along(seen.activations[HookPoint("resid_pre", 0)], directions)
        capped = self._of_tokens(seen.logits)
        mass = torch.stack([row.float().logsumexp(-1) for row in seen.logits]).cpu().double()
        return Split(
            embed=(entering if pos_embed is None else entering - pos_embed).numpy(),
            pos_embed=None if pos_embed is None else pos_embed.numpy(),
            heads=torch.stack(heads, 1).numpy(),
            attention_bias=torch.stack(biases, 1).numpy(),
            mlp_out=torch.stack(
                [self._along(seen.activations[HookPoint("mlp_out", layer)], directions) for layer in layers], 1
            ).numpy(),
            bias=((behind * final.beta).sum(-1) + anatomy.logit_scale * constant).numpy(),
            logits=(anatomy.logit_scale * self._of_tokens(seen.unembedded)).numpy(),
            capped=capped.numpy(),
            logprobs=(capped - mass[self.at]).numpy(),
        )

    def _of_tokens(self, logits: torch.Tensor) -> torch.Tensor:
        """The columns' tokens' logits, [column], from logits [place, vocabulary]."""
        return logits[self.at.to(logits.device), self.tokens.to(logits.device)].cpu().double()

    def _along(self, parts: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Dot products of vectors [place, hidden] with directions [column, hidden], [column]."""
        return (parts.double()[self.at] * directions).sum(-1)

    def _heads(self, layer: int, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Contribution of each head of a layer, [column, head], and that of the bias after them, [column]."""
        block = self.model.anatomy.blocks[layer]
        mixed = self._mixed(block, self.seen.activations[HookPoint("z", layer)])
        whole, constant, single = mixed[:, 0], mixed[0, 1], mixed[:, 2:] - mixed[0, 1]
        bias = torch.zeros(len(self.at), dtype=torch.float64)
        if block.attention_write is not block.attention:
            norm = FrozenNorm.at(block.attention_write, whole[self.at])
            bias = (directions * norm.beta).sum(-1)
            directions = norm.through(directions)
        heads = torch.einsum("chd,cd->ch", single[self.at], directions)
        return heads, bias + directions @ constant

    def _mixed(self, block: Block, heads: torch.Tensor) -> torch.Tensor:
        """The output projection of heads [place, head, head_dim]: [place, 2 + head, hidden].

        First all heads together, then none, then each one alone.
        """
        count = heads.shape[1]
        mask = torch.cat([torch.ones(1, count), torch.zeros(1, count), torch.eye(count)]).to(heads.dtype)
        at_once = max(1, self.limits.tokens // len(mask))
        mixed = []

        def project(places: Sequence[int]) -> torch.Tensor:
            alone = heads[places[0] : places[-1] + 1, None] * mask[None, :, :, None]
            with self.model.lock, torch.inference_mode():
                return block.output_projection(alone.flatten(2).to(self.model.device)).cpu().double()

        for start in range(0, len(heads), at_once):
            places = range(start, min(len(heads), start + at_once))
            mixed += [answer for _, answer in self.backoff.halving(places, project)]
        return torch.cat(mixed)

    def _unembedding(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The unembedding's directions of the columns' tokens, [column, hidden], and its biases [column]."""
        unembedding, tokens = self.model.anatomy.unembedding, self.tokens
        bias = getattr(unembedding, "bias", None)
        constant = torch.zeros(len(tokens)) if bias is None else bias.detach()[tokens.to(bias.device)].cpu()
        if type(unembedding) is nn.Linear:
            rows = unembedding.weight.detach()[tokens.to(unembedding.weight.device)].cpu()
        else:
            rows = torch.cat(list(self._by_gradient(tokens)))
        return rows.double(), constant.double()

    def _by_gradient(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """The directions of an unembedding without a readable matrix: the gradients of its logits."""
        at_once = max(1, self.limits.logits // self.model.anatomy.vocabulary)
        dtype = self.model.network.dtype

        def ask(places: Sequence[int]) -> torch.Tensor:
            wanted = tokens[places[0] : places[-1] + 1].to(self.model.device)
            with self.model.lock, torch.enable_grad():
                probe = torch.zeros(len(wanted), self.model.anatomy.hidden, dtype=dtype, device=self.model.device)
                probe.requires_grad_()
                logits = self.model.anatomy.unembedding(probe).gather(1, wanted[:, None]).sum()
                (rows,) = torch.autograd.grad(logits, probe)
            return rows.cpu()

        found: list[torch.Tensor] = []
        for start in range(0, len(tokens), at_once):
            places = range(start, min(len(tokens), start + at_once))
            found += [answer for _, answer in self.backoff.halving(places, ask)]
        return found


def _placeholder(anatomy: Anatomy, columns: int) -> Split:
    layers = len(anatomy.blocks)
    none, by_layer = np.zeros(columns), np.zeros((columns, layers))
    heads = np.zeros((columns, layers, anatomy.heads))
    return Split(none, None, heads, by_layer, by_layer, none, none, none, none)
