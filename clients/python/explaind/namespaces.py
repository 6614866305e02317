"""The methods as attributes of a client. Written by `python -m explaind.generate --write`."""

from explaind.acalls import AsyncDriver, AsyncMethodCall
from explaind.calls import Driver, MethodCall
from explaind.contract.methods.classify import METHOD as CLASSIFY
from explaind.contract.methods.compare_methods import METHOD as COMPARE_METHODS
from explaind.contract.methods.deeplift import METHOD as DEEPLIFT
from explaind.contract.methods.feature_ablation import METHOD as FEATURE_ABLATION
from explaind.contract.methods.generate import METHOD as GENERATE
from explaind.contract.methods.gradient_shap import METHOD as GRADIENT_SHAP
from explaind.contract.methods.input_x_gradient import METHOD as INPUT_X_GRADIENT
from explaind.contract.methods.integrated_gradients import METHOD as INTEGRATED_GRADIENTS
from explaind.contract.methods.kernel_shap import METHOD as KERNEL_SHAP
from explaind.contract.methods.lime import METHOD as LIME
from explaind.contract.methods.occlusion import METHOD as OCCLUSION
from explaind.contract.methods.saliency import METHOD as SALIENCY
from explaind.contract.methods.score import METHOD as SCORE
from explaind.contract.methods.shap import METHOD as SHAP
from explaind.contract.methods.shapley_sampling import METHOD as SHAPLEY_SAMPLING
from explaind.contract.methods.tokenize import METHOD as TOKENIZE


class Explain:
    """The methods of /explain."""

    def __init__(self, driver: Driver) -> None:
        self.compare_methods = MethodCall(driver, COMPARE_METHODS)
        self.deeplift = MethodCall(driver, DEEPLIFT)
        self.feature_ablation = MethodCall(driver, FEATURE_ABLATION)
        self.gradient_shap = MethodCall(driver, GRADIENT_SHAP)
        self.input_x_gradient = MethodCall(driver, INPUT_X_GRADIENT)
        self.integrated_gradients = MethodCall(driver, INTEGRATED_GRADIENTS)
        self.kernel_shap = MethodCall(driver, KERNEL_SHAP)
        self.lime = MethodCall(driver, LIME)
        self.occlusion = MethodCall(driver, OCCLUSION)
        self.saliency = MethodCall(driver, SALIENCY)
        self.shap = MethodCall(driver, SHAP)
        self.shapley_sampling = MethodCall(driver, SHAPLEY_SAMPLING)


class Infer:
    """The methods of /infer."""

    def __init__(self, driver: Driver) -> None:
        self.classify = MethodCall(driver, CLASSIFY)
        self.generate = MethodCall(driver, GENERATE)
        self.score = MethodCall(driver, SCORE)
        self.tokenize = MethodCall(driver, TOKENIZE)


class Namespaces:
    """Every method under its verb."""

    def __init__(self, driver: Driver) -> None:
        self.explain = Explain(driver)
        self.infer = Infer(driver)


class AsyncExplain:
    """The methods of /explain."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.compare_methods = AsyncMethodCall(driver, COMPARE_METHODS)
        self.deeplift = AsyncMethodCall(driver, DEEPLIFT)
        self.feature_ablation = AsyncMethodCall(driver, FEATURE_ABLATION)
        self.gradient_shap = AsyncMethodCall(driver, GRADIENT_SHAP)
        self.input_x_gradient = AsyncMethodCall(driver, INPUT_X_GRADIENT)
        self.integrated_gradients = AsyncMethodCall(driver, INTEGRATED_GRADIENTS)
        self.kernel_shap = AsyncMethodCall(driver, KERNEL_SHAP)
        self.lime = AsyncMethodCall(driver, LIME)
        self.occlusion = AsyncMethodCall(driver, OCCLUSION)
        self.saliency = AsyncMethodCall(driver, SALIENCY)
        self.shap = AsyncMethodCall(driver, SHAP)
        self.shapley_sampling = AsyncMethodCall(driver, SHAPLEY_SAMPLING)


class AsyncInfer:
    """The methods of /infer."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.classify = AsyncMethodCall(driver, CLASSIFY)
        self.generate = AsyncMethodCall(driver, GENERATE)
        self.score = AsyncMethodCall(driver, SCORE)
        self.tokenize = AsyncMethodCall(driver, TOKENIZE)


class AsyncNamespaces:
    """Every method under its verb."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.explain = AsyncExplain(driver)
        self.infer = AsyncInfer(driver)
