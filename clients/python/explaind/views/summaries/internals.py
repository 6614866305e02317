"""Results about the inside of a model in one line: lenses, attention, contributions, ablations, patching."""

from collections.abc import Iterator

from explaind.contract.blocks.ablation import Ablated
from explaind.contract.blocks.lens import LensReading
from explaind.contract.methods.explain.activation_patching import ActivationPatching
from explaind.contract.methods.explain.attention import AttentionPatterns
from explaind.contract.methods.explain.head_ablation import HeadAblation
from explaind.contract.methods.explain.layer_ablation import LayerAblation
from explaind.contract.methods.explain.logit_attribution import LogitAttribution
from explaind.contract.methods.train.tuned_lens import TunedLensTraining
from explaind.views.drawing.summary_line import MOST_ITEMS, against, amount, change, quoted, strongest
from explaind.views.drawing.text import plural
from explaind.views.registry import View


def _lens(result: LensReading) -> Iterator[str]:
    if result.target is not None:
        yield quoted(result.target)
    last = result.streams[-1]
    yield ", ".join(stream.stream for stream in result.streams)
    yield f"{plural(len(last.layers), 'layer')} × {plural(len(result.positions.index), 'position')}"
    yield f"says {quoted(result.tokens[last.top_ids[-1][-1][0]])} in the end"
    if last.settled_layer[-1] is not None:
        yield f"settled from layer {last.settled_layer[-1]}"


def _training(result: TunedLensTraining) -> Iterator[str]:
    yield result.lens.id
    yield f"{plural(result.steps, 'step')} on {plural(result.train_texts, 'text')}"
    count = len(result.held_out.tuned_lens)
    means = (sum(column) / max(count, 1) for column in (result.held_out.tuned_lens, result.held_out.logit_lens))
    yield "held-out KL {}, of the logit lens {}".format(*map(amount, means))


def _attention(result: AttentionPatterns) -> Iterator[str]:
    yield plural(len(result.tokens), "token")
    yield "patterns of " + " ".join(pattern.name for pattern in result.patterns[:MOST_ITEMS])
    for label in result.labels[:MOST_ITEMS]:
        yield f"{label.name} {label.label} {amount(label.score)}"


def _contributions(result: LogitAttribution) -> Iterator[str]:
    yield against(result.target.text, result.foil.text if result.foil else None)
    yield f"logit {amount(result.logit)}"
    named = result.ranking
    yield from strongest([component.name for component in named], [component.value for component in named])


def _heads(result: HeadAblation) -> Iterator[str]:
    yield from _ablated(result)
    ranked = result.ranking
    names = [f"L{layer}H{head}" for layer, head in zip(ranked.layers, ranked.heads, strict=True)]
    yield from strongest(names, ranked.effects)


def _layers(result: LayerAblation) -> Iterator[str]:
    yield from _ablated(result)
    ranked = result.ranking
    names = [f"L{layer} {component}" for layer, component in zip(ranked.layers, ranked.components, strict=True)]
    yield from strongest(names, ranked.effects)


def _ablated(result: Ablated) -> Iterator[str]:
    yield f"{result.ablation} ablation"
    yield f"{result.metric} {amount(result.clean_mean)} of {plural(len(result.clean), 'question')}"


def _patching(result: ActivationPatching) -> Iterator[str]:
    yield against(result.target.text, result.foil.text if result.foil else None)
    yield result.direction
    yield f"{result.score} clean {amount(result.clean_score)}, corrupted {amount(result.corrupted_score)}"
    for grid in result.grids:
        cells = [
            (effect, layer, column)
            for layer, row in zip(grid.layers, grid.effects, strict=True)
            for column, effect in zip(grid.columns, row, strict=True)
        ]
        if cells:
            effect, layer, column = max(cells, key=lambda cell: abs(cell[0]))
            where = "head" if grid.point == "z" else "token"
            yield f"{grid.point} {change(effect)} at layer {layer} {where} {column}"


VIEWS = (
    View(LensReading, summary=_lens),
    View(TunedLensTraining, summary=_training),
    View(AttentionPatterns, summary=_attention),
    View(LogitAttribution, summary=_contributions),
    View(HeadAblation, summary=_heads),
    View(LayerAblation, summary=_layers),
    View(ActivationPatching, summary=_patching),
)
