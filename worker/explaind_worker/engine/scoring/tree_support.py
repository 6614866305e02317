"""Probes whether a model can evaluate a prefix tree: tried once on a small one and compared with dense batches."""

import numpy as np
import torch

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import verdict
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.scoring.dense_evaluator import DenseRows
from explaind_worker.engine.scoring.rows import AskedRow, grouped
from explaind_worker.engine.scoring.tree_attention import NotATree
from explaind_worker.engine.scoring.tree_evaluator import TreeRows
from explaind_worker.models.device_errors import out_of_memory, poisoned
from explaind_worker.models.loading.loaded import LoadedModel

# Largest difference of log-probabilities, in nats, that rounding in that dtype can explain.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
NARROW_TOLERANCE = 0.25
LENGTH = 12


def why_dense(model: LoadedModel) -> str | None:
    """Why this model's rows are evaluated in dense batches; None if as a tree.

    Probed at the first call and cached with the model.
    """
    return verdict(model, "dense_because", _tried)


def _tried(model: LoadedModel) -> str | None:
    if model.network.config.get_text_config().is_encoder_decoder:
        return "the model is an encoder and a decoder"
    with model.lengths.border_at(LENGTH) as border:
        return _compared(model, _rows(model.anatomy.vocabulary, border if model.lengths.vary else None))


def _compared(model: LoadedModel, rows: list[AskedRow]) -> str | None:
    limits = BatchLimits(tokens=LENGTH * 2, logits=1 << 30)  # several chunks
    try:
        tree = {row.key: answer for row, answer in TreeRows(model, limits, CostMeter())(rows)}
    except NotATree as refusal:
        return str(refusal)
    except Exception as error:
        if out_of_memory(error) or poisoned(error):
            raise
        return f"its attention could not be replaced ({type(error).__name__})"
    alone = BatchLimits(tokens=1, logits=1 << 30)  # every row separately
    dense = {row.key: answer for row, answer in DenseRows(model, alone, CostMeter())(rows)}
    difference = max(float(np.abs(tree[key] - dense[key]).max()) for key in dense)
    allowed = NARROW_TOLERANCE if model.quantization else TOLERANCE.get(model.network.dtype, NARROW_TOLERANCE)
    if not difference <= allowed:
        return f"its answers over a tree differ by {difference:.1e}"
    return None


def _rows(vocabulary: int, border: int | None) -> list[AskedRow]:
    """Rows of several lengths with shared prefixes, some on each side of the length border if there is one.

    They depend on vocabulary size and border only.
    """
    tokens = (np.arange(LENGTH) * 7919 + 13) % vocabulary
    group = grouped([(1, 2, 3)])[0]
    shapes = [(0, 12), (3, 12), (7, 12), (7, 9), (9, 11), (9, 12)]
    if border is not None:
        # The fed continuation counts too, and is read itself: at least one token precedes it.
        ends = [max(1, border - len(group.fed) + beyond) for beyond in (-1, 0, 1, 2)]
        shapes += [(replaced, end) for end in ends for replaced in (end - 1, LENGTH)]
    made = []
    for number, (replaced, length) in enumerate(shapes):
        row = np.where(np.arange(LENGTH) == replaced, 5, tokens)[:length]
        made.append(AskedRow((0, bytes([number])), np.concatenate([row, group.fed]), group))
    return made
