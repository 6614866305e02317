"""explain/deeplift: activation differences propagated back by the rescale rule."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import GradientsUnavailable
from explaind.contract.methods.explain.deeplift import DeepliftParams
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.session.session import Session

# Share of the score difference that errors of quadrature or rounding never reach.
NOTEWORTHY = 0.01


def run(params: DeepliftParams, session: Session) -> Attribution:
    """Contributions of each unit by DeepLIFT's rescale rule; with a note on the completeness gap.

    Raises:
        GradientsUnavailable: the network's activation functions are not modules to which the rule can be applied.
    """
    if session.model_access.kind == "classifier":
        raise GradientsUnavailable.at(
            "/model",
            "DeepLIFT's rule is set on the MLPs of causal language models; "
            f"{session.model_access.entry.name} is a classifier.",
            hint="explain/integrated-gradients explains classifiers, and its values add up.",
        )
    asked = EmbeddingGradients(params, session)
    values = asked.deeplift()
    result = asked.attribution(values, algorithm="deeplift-rescale", evaluations=0)
    difference = result.full_value - result.base_value
    if abs(result.completeness_gap) <= NOTEWORTHY * abs(difference):
        return result
    note = (
        f"The values add up to {difference - result.completeness_gap:.4g}, the score differs by {difference:.4g}: the "
        "rescale rule does not cover attention's softmax, products and norms, which were passed by their gradient."
    )
    return result.model_copy(update={"notes": [*result.notes, note]})
