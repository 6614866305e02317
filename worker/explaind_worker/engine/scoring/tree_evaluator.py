"""Row evaluator over a prefix tree: every distinct prefix is computed once, packed without padding."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import nn

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward, placeholder
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.matmul_precision import Way, products_in
from explaind_worker.engine.batching.memory_estimate import GATHERED, SCORED, Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.prefix_tree import Branch, branches, chunks, in_order, pack
from explaind_worker.engine.scoring.rows import AskedRow, FloatArray, Group, scores_of
from explaind_worker.engine.scoring.tree_attention import GatherRoom, KeysAndValues, TreePass, reading_a_tree
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.logits_at import vocabulary_first
from explaind_worker.models.structure.position_subset import only_rows

LOGIT_SHARE = 4  # at most one part in this many of the memory may be logits

_Asked = tuple[AskedRow, Branch]


class TreeRows:
    """Evaluates a tree in chunks, one forward each, so that memory is bounded for any number of rows.

    The keys and values of a chunk's last row are carried to the next chunk, for the prefix they share. Only the
    positions that are read pass the last block's projections, the final norm and the unembedding.
    """

    def __init__(self, model: LoadedModel, limits: BatchLimits, meter: CostMeter, products: Way | None = None) -> None:
        self._model = model
        self._products: Way | None = products
        self._limits = limits
        self._meter = meter
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)
        self._room = GatherRoom(
            places=max(1, GATHERED // self._footprint.key_width), scores=SCORED // self._footprint.heads
        )
        self._logit_places = self._most_logit_places()
        self._carried: dict[nn.Module, KeysAndValues] = {}
        self._before = 0  # length of the carried row

    def __call__(self, rows: Sequence[AskedRow]) -> Iterator[tuple[AskedRow, FloatArray]]:
        """Each row with its scores, in order of completion."""
        for alike in self._alike(rows):
            yield from self._tree(alike)

    def _alike(self, rows: Sequence[AskedRow]) -> list[list[AskedRow]]:
        """The rows by length class: a prefix has different keys in a row of another class."""
        found: dict[int, list[AskedRow]] = {}
        for row in rows:
            found.setdefault(self._model.lengths.last(len(row.tokens)), []).append(row)
        return list(found.values())

    def _tree(self, rows: Sequence[AskedRow]) -> Iterator[tuple[AskedRow, FloatArray]]:
        """The call for rows of one length class."""
        self._carried, self._before = {}, 0
        ordered = [rows[index] for index in in_order([row.tokens for row in rows])]
        tree = branches([row.tokens for row in ordered], [row.reads for row in ordered])
        longest = max(len(row.tokens) for row in rows)
        begin = 0
        for chunk in chunks(tree, self._most_nodes(longest, max(row.reads for row in rows))):
            asked = list(zip(ordered[begin : begin + len(chunk)], chunk, strict=True))
            begin += len(chunk)
            for _, answers in self._backoff.halving(asked, self._forward):
                yield from answers
        self._carried = {}

    def _most_nodes(self, longest: int, reads: int) -> int:
        limits = self._limits
        if limits.bytes is None:
            return limits.tokens
        at_once = max(reads, self._logit_places)
        return self._footprint.tree_nodes(limits.bytes, longest, reads=at_once, most=limits.tokens)

    def _most_logit_places(self) -> int:
        """Number of positions whose logits are computed at once; at least one."""
        most = self._limits.logits // self._model.anatomy.vocabulary
        if self._limits.bytes is not None:
            most = min(most, self._limits.bytes // LOGIT_SHARE // self._footprint.logit_bytes(1))
        return max(1, most)

    def _forward(self, asked: Sequence[_Asked]) -> list[tuple[AskedRow, FloatArray]]:
        """Rows of one chunk with their scores [kind, token, continuation]."""
        nodes, reads = sum(branch.nodes for _, branch in asked), sum(row.reads for row, _ in asked)
        at_once = max(min(reads, self._logit_places), *(row.reads for row, _ in asked))
        return forward(
            self._model,
            lambda: self._read(asked),
            placeholder=lambda: [(row, placeholder(row.key[1], (2, *row.group.read.shape))) for row, _ in asked],
            meter=self._meter,
            tokens=nodes,
            reads=reads,
            bytes=self._footprint.tree_bytes(nodes, max(len(row.tokens) for row, _ in asked), reads=at_once),
        )

    def _read(self, asked: Sequence[_Asked]) -> list[tuple[AskedRow, FloatArray]]:
        """Scores of one chunk, as `_forward`. The model's lock must be held."""
        anatomy, network = self._model.anatomy, self._model.network
        chunk = pack([branch for _, branch in asked], self._before)
        last = anatomy.blocks[-1]
        with products_in(self._products), ExitStack() as stack:
            tree_pass = TreePass(chunk, self._carried, last.attention, room=self._room)
            stack.enter_context(reading_a_tree(network, tree_pass))
            for module in (last.output_projection, last.mlp):
                stack.enter_context(only_rows(module, tree_pass.reads))
            hidden = network.base_model(
                input_ids=torch.from_numpy(chunk.tokens[None]).to(network.device),
                position_ids=torch.from_numpy(chunk.positions[None]).to(network.device),
                use_cache=False,
            ).last_hidden_state[0]
            stack.enter_context(vocabulary_first(anatomy.unembedding))
            answers = self._answers(hidden.index_select(0, tree_pass.reads), [row for row, _ in asked])
        # Only on success: a chunk that ran out of memory is retried from the end of the previous one.
        self._carried, self._before = tree_pass.left, int(chunk.lengths[-1])
        return answers

    def _answers(self, hidden: torch.Tensor, rows: Sequence[AskedRow]) -> list[tuple[AskedRow, FloatArray]]:
        """Scores from the inputs of the unembedding [read, hidden], the reads of all rows in sequence."""
        ends = np.cumsum([row.reads for row in rows])
        by_group: dict[int, tuple[Group, list[int]]] = {}
        for index, row in enumerate(rows):
            by_group.setdefault(row.key[0], (row.group, []))[1].append(index)
        found: list[tuple[AskedRow, FloatArray]] = []
        for group, members in by_group.values():
            reads, read = len(group.read), group.read.to(hidden.device)
            at_once = max(1, self._logit_places // reads)
            for begin in range(0, len(members), at_once):
                part = members[begin : begin + at_once]
                places = (ends[part] - reads)[:, None] + np.arange(reads)
                read_here = hidden.index_select(0, torch.from_numpy(places.reshape(-1)).to(hidden.device))
                chosen = read.expand(len(part), -1, -1)
                answers = scores_of(self._logits(read_here), chosen.reshape(-1, read.shape[-1]), rows=len(part))
                found += [(rows[index], answer) for index, answer in zip(part, answers, strict=True)]
        return found

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._model.anatomy.final_logits(self._model.anatomy.unembedding(hidden)).float()
