"""explain/input-x-gradient: the gradient at the prompt, times what its embeddings differ by from the baseline's."""

from explaind.contract.blocks import Attribution
from explaind.contract.methods.input_x_gradient import InputXGradientParams
from explaind_worker.methods.integrated_gradients import along
from explaind_worker.sensitivity import Sensitivity
from explaind_worker.session import Session


def run(params: InputXGradientParams, session: Session) -> Attribution:
    """Gradient times difference at the prompt itself, per unit (captum's InputXGradient where the baseline is zero)."""
    asked = Sensitivity(params, session)
    ((_, contributions),) = asked.contributions(asked.path([1.0]), along)
    return asked.attribution(contributions[0], algorithm="input-x-gradient", evaluations=1)
