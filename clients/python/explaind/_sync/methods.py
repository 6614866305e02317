"""The methods as attributes of a client. Written by `python -m tools.sdk_methods --write`."""

from explaind._async.jobs import AsyncDriver, AsyncMethodCall
from explaind._sync.jobs import FlowDriver, MethodCall
from explaind.contract.methods.evaluate.questions import METHOD as QUESTIONS
from explaind.contract.methods.explain.activation_patching import METHOD as ACTIVATION_PATCHING
from explaind.contract.methods.explain.attention import METHOD as ATTENTION
from explaind.contract.methods.explain.compare_methods import METHOD as COMPARE_METHODS
from explaind.contract.methods.explain.deeplift import METHOD as DEEPLIFT
from explaind.contract.methods.explain.feature_ablation import METHOD as FEATURE_ABLATION
from explaind.contract.methods.explain.gradient_shap import METHOD as GRADIENT_SHAP
from explaind.contract.methods.explain.head_ablation import METHOD as HEAD_ABLATION
from explaind.contract.methods.explain.input_x_gradient import METHOD as INPUT_X_GRADIENT
from explaind.contract.methods.explain.integrated_gradients import METHOD as INTEGRATED_GRADIENTS
from explaind.contract.methods.explain.kernel_shap import METHOD as KERNEL_SHAP
from explaind.contract.methods.explain.layer_ablation import METHOD as LAYER_ABLATION
from explaind.contract.methods.explain.lime import METHOD as LIME
from explaind.contract.methods.explain.logit_attribution import METHOD as LOGIT_ATTRIBUTION
from explaind.contract.methods.explain.logit_lens import METHOD as LOGIT_LENS
from explaind.contract.methods.explain.occlusion import METHOD as OCCLUSION
from explaind.contract.methods.explain.saliency import METHOD as SALIENCY
from explaind.contract.methods.explain.shap import METHOD as SHAP
from explaind.contract.methods.explain.shapley_sampling import METHOD as SHAPLEY_SAMPLING
from explaind.contract.methods.explain.tuned_lens import METHOD as TUNED_LENS
from explaind.contract.methods.infer.classify import METHOD as CLASSIFY
from explaind.contract.methods.infer.generate import METHOD as GENERATE
from explaind.contract.methods.infer.score import METHOD as SCORE
from explaind.contract.methods.infer.tokenize import METHOD as TOKENIZE
from explaind.contract.methods.train.tuned_lens import METHOD as TRAIN_TUNED_LENS


class Evaluate:
    """The methods of /evaluate."""

    def __init__(self, driver: FlowDriver) -> None:
        self.questions = MethodCall(driver, QUESTIONS)


class Explain:
    """The methods of /explain."""

    def __init__(self, driver: FlowDriver) -> None:
        self.activation_patching = MethodCall(driver, ACTIVATION_PATCHING)
        self.attention = MethodCall(driver, ATTENTION)
        self.compare_methods = MethodCall(driver, COMPARE_METHODS)
        self.deeplift = MethodCall(driver, DEEPLIFT)
        self.feature_ablation = MethodCall(driver, FEATURE_ABLATION)
        self.gradient_shap = MethodCall(driver, GRADIENT_SHAP)
        self.head_ablation = MethodCall(driver, HEAD_ABLATION)
        self.input_x_gradient = MethodCall(driver, INPUT_X_GRADIENT)
        self.integrated_gradients = MethodCall(driver, INTEGRATED_GRADIENTS)
        self.kernel_shap = MethodCall(driver, KERNEL_SHAP)
        self.layer_ablation = MethodCall(driver, LAYER_ABLATION)
        self.lime = MethodCall(driver, LIME)
        self.logit_attribution = MethodCall(driver, LOGIT_ATTRIBUTION)
        self.logit_lens = MethodCall(driver, LOGIT_LENS)
        self.occlusion = MethodCall(driver, OCCLUSION)
        self.saliency = MethodCall(driver, SALIENCY)
        self.shap = MethodCall(driver, SHAP)
        self.shapley_sampling = MethodCall(driver, SHAPLEY_SAMPLING)
        self.tuned_lens = MethodCall(driver, TUNED_LENS)


class Infer:
    """The methods of /infer."""

    def __init__(self, driver: FlowDriver) -> None:
        self.classify = MethodCall(driver, CLASSIFY)
        self.generate = MethodCall(driver, GENERATE)
        self.score = MethodCall(driver, SCORE)
        self.tokenize = MethodCall(driver, TOKENIZE)


class Train:
    """The methods of /train."""

    def __init__(self, driver: FlowDriver) -> None:
        self.tuned_lens = MethodCall(driver, TRAIN_TUNED_LENS)


class Namespaces:
    """Every method under its verb."""

    def __init__(self, driver: FlowDriver) -> None:
        self.evaluate = Evaluate(driver)
        self.explain = Explain(driver)
        self.infer = Infer(driver)
        self.train = Train(driver)


class AsyncEvaluate:
    """The methods of /evaluate."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.questions = AsyncMethodCall(driver, QUESTIONS)


class AsyncExplain:
    """The methods of /explain."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.activation_patching = AsyncMethodCall(driver, ACTIVATION_PATCHING)
        self.attention = AsyncMethodCall(driver, ATTENTION)
        self.compare_methods = AsyncMethodCall(driver, COMPARE_METHODS)
        self.deeplift = AsyncMethodCall(driver, DEEPLIFT)
        self.feature_ablation = AsyncMethodCall(driver, FEATURE_ABLATION)
        self.gradient_shap = AsyncMethodCall(driver, GRADIENT_SHAP)
        self.head_ablation = AsyncMethodCall(driver, HEAD_ABLATION)
        self.input_x_gradient = AsyncMethodCall(driver, INPUT_X_GRADIENT)
        self.integrated_gradients = AsyncMethodCall(driver, INTEGRATED_GRADIENTS)
        self.kernel_shap = AsyncMethodCall(driver, KERNEL_SHAP)
        self.layer_ablation = AsyncMethodCall(driver, LAYER_ABLATION)
        self.lime = AsyncMethodCall(driver, LIME)
        self.logit_attribution = AsyncMethodCall(driver, LOGIT_ATTRIBUTION)
        self.logit_lens = AsyncMethodCall(driver, LOGIT_LENS)
        self.occlusion = AsyncMethodCall(driver, OCCLUSION)
        self.saliency = AsyncMethodCall(driver, SALIENCY)
        self.shap = AsyncMethodCall(driver, SHAP)
        self.shapley_sampling = AsyncMethodCall(driver, SHAPLEY_SAMPLING)
        self.tuned_lens = AsyncMethodCall(driver, TUNED_LENS)


class AsyncInfer:
    """The methods of /infer."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.classify = AsyncMethodCall(driver, CLASSIFY)
        self.generate = AsyncMethodCall(driver, GENERATE)
        self.score = AsyncMethodCall(driver, SCORE)
        self.tokenize = AsyncMethodCall(driver, TOKENIZE)


class AsyncTrain:
    """The methods of /train."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.tuned_lens = AsyncMethodCall(driver, TRAIN_TUNED_LENS)


class AsyncNamespaces:
    """Every method under its verb."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.evaluate = AsyncEvaluate(driver)
        self.explain = AsyncExplain(driver)
        self.infer = AsyncInfer(driver)
        self.train = AsyncTrain(driver)
