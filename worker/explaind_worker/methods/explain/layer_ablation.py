"""explain/layer-ablation: takes attention, MLP or the whole of each layer away, one at a time."""

from explaind.contract.methods.explain.layer_ablation import LayerAblation, LayerAblationParams, LayerPart, LayerRanking
from explaind_worker.ablation.effects import Effects
from explaind_worker.ablation.runs import AblationRuns, Component
from explaind_worker.ablation.selection import chosen
from explaind_worker.session.session import Session


def run(params: LayerAblationParams, session: Session) -> LayerAblation:
    """What the answers lose without each part of each layer.

    Raises:
        InvalidRequest: a question, a layer or the metric cannot be used with this model (the field is named).
    """
    anatomy = session.model_access.anatomy()
    layers = chosen(params.layers, len(anatomy.blocks), "/layers", "layer")
    places: list[tuple[int, LayerPart]] = [(layer, part) for layer in layers for part in params.parts]
    cuts = [(Component(layer, part),) for layer, part in places]
    effects = Effects(AblationRuns(params, session, params.parts, layers))
    effects.ablate(cuts)
    by_question = effects.all_of(cuts).reshape(len(layers), len(params.parts), -1)
    order, mean, low, high = effects.ranked(cuts)
    return LayerAblation(
        **effects.common([f"layer {layer}, {part}" for layer, part in places], cuts),
        layers=layers,
        parts=params.parts,
        grid=by_question.mean(axis=-1).tolist(),
        effects=by_question.tolist(),
        ranking=LayerRanking(
            layers=[places[index][0] for index in order],
            parts=[places[index][1] for index in order],
            effects=mean,
            low=low,
            high=high,
        ),
    )
