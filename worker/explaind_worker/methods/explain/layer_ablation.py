"""explain/layer-ablation: ablates attention, MLP or the whole of each layer, one at a time."""

from explaind.contract.methods.explain.layer_ablation import (
    LayerAblation,
    LayerAblationParams,
    LayerComponent,
    LayerRanking,
)
from explaind_worker.ablation.effects import Effects
from explaind_worker.ablation.runs import AblationRuns, Component
from explaind_worker.ablation.selection import chosen
from explaind_worker.session.session import Session


def run(params: LayerAblationParams, session: Session) -> LayerAblation:
    """Effects of ablating each component of each layer.

    Raises:
        InvalidRequest: a question, a layer or the metric cannot be used with this model (the field is named).
    """
    anatomy = session.model_access.anatomy()
    layers = chosen(params.layers, len(anatomy.blocks), "/layers", "layer")
    ablated: list[tuple[int, LayerComponent]] = [(layer, kind) for layer in layers for kind in params.components]
    cuts = [(Component(layer, kind),) for layer, kind in ablated]
    effects = Effects(AblationRuns(params, session, params.components, layers))
    effects.ablate(cuts)
    by_question = effects.all_of(cuts).reshape(len(layers), len(params.components), -1)
    order, mean, low, high = effects.ranked(cuts)
    return LayerAblation(
        **effects.common([f"layer {layer}, {kind}" for layer, kind in ablated], cuts),
        layers=layers,
        components=params.components,
        grid=by_question.mean(axis=-1).tolist(),
        effects=by_question.tolist(),
        ranking=LayerRanking(
            layers=[ablated[index][0] for index in order],
            components=[ablated[index][1] for index in order],
            effects=mean,
            low=low,
            high=high,
        ),
    )
