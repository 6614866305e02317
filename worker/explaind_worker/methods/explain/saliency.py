"""explain/saliency: the norm of the gradient at the prompt."""

import torch

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.saliency import SaliencyParams
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.session.session import Session

WHY = (
    "Saliency is how steep the score is at the prompt, not a part of the score: compare its values with each other "
    "only. explain/integrated-gradients adds up."
)


def run(params: SaliencyParams, session: Session) -> Attribution:
    """The size of the gradient with respect to each token's embedding, summed over the tokens of a unit."""
    asked = EmbeddingGradients(params, session)
    order = {"l1": 1.0, "l2": 2.0, "max": float("inf")}[params.reduce]

    def size(gradients: torch.Tensor, _differences: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(gradients, ord=order, dim=-1)

    ((_, contributions),) = asked.contributions(asked.path([1.0]), size)
    result = asked.attribution(contributions[0], algorithm=f"saliency-{params.reduce}", evaluations=1)
    return with_gap_note(result, WHY)
