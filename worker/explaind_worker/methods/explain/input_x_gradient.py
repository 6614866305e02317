"""explain/input-x-gradient: the gradient at the prompt, times the difference of its embeddings from the baseline."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.input_x_gradient import InputXGradientParams
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.methods.explain.integrated_gradients import along
from explaind_worker.session.session import Session

WHY = (
    "One gradient, at the prompt itself, tells the difference only where the score is linear between the two; "
    "explain/integrated-gradients adds up."
)


def run(params: InputXGradientParams, session: Session) -> Attribution:
    """Gradient times difference at the prompt itself, per unit (captum's InputXGradient where the baseline is zero)."""
    asked = EmbeddingGradients(params, session)
    ((_, contributions),) = asked.contributions(asked.path([1.0]), along)
    result = asked.attribution(contributions[0], algorithm="input-x-gradient", evaluations=1)
    return with_gap_note(result, WHY, noise=asked.rounding)
