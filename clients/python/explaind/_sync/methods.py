# Generated from clients/python/explaind/_async/methods.py by `make generate`.
"""The methods as attributes of a client."""

from explaind._sync.driver import FlowDriver
from explaind._sync.jobs import MethodCall
from explaind.contract.methods.evaluate.questions import METHOD as EVALUATE_QUESTIONS
from explaind.contract.methods.explain.activation_patching import METHOD as EXPLAIN_ACTIVATION_PATCHING
from explaind.contract.methods.explain.attention import METHOD as EXPLAIN_ATTENTION
from explaind.contract.methods.explain.compare_methods import METHOD as EXPLAIN_COMPARE_METHODS
from explaind.contract.methods.explain.deeplift import METHOD as EXPLAIN_DEEPLIFT
from explaind.contract.methods.explain.feature_ablation import METHOD as EXPLAIN_FEATURE_ABLATION
from explaind.contract.methods.explain.gradient_shap import METHOD as EXPLAIN_GRADIENT_SHAP
from explaind.contract.methods.explain.head_ablation import METHOD as EXPLAIN_HEAD_ABLATION
from explaind.contract.methods.explain.input_x_gradient import METHOD as EXPLAIN_INPUT_X_GRADIENT
from explaind.contract.methods.explain.integrated_gradients import METHOD as EXPLAIN_INTEGRATED_GRADIENTS
from explaind.contract.methods.explain.kernel_shap import METHOD as EXPLAIN_KERNEL_SHAP
from explaind.contract.methods.explain.layer_ablation import METHOD as EXPLAIN_LAYER_ABLATION
from explaind.contract.methods.explain.lime import METHOD as EXPLAIN_LIME
from explaind.contract.methods.explain.logit_attribution import METHOD as EXPLAIN_LOGIT_ATTRIBUTION
from explaind.contract.methods.explain.logit_lens import METHOD as EXPLAIN_LOGIT_LENS
from explaind.contract.methods.explain.occlusion import METHOD as EXPLAIN_OCCLUSION
from explaind.contract.methods.explain.saliency import METHOD as EXPLAIN_SALIENCY
from explaind.contract.methods.explain.shap import METHOD as EXPLAIN_SHAP
from explaind.contract.methods.explain.shapley_sampling import METHOD as EXPLAIN_SHAPLEY_SAMPLING
from explaind.contract.methods.explain.tuned_lens import METHOD as EXPLAIN_TUNED_LENS
from explaind.contract.methods.infer.classify import METHOD as INFER_CLASSIFY
from explaind.contract.methods.infer.generate import METHOD as INFER_GENERATE
from explaind.contract.methods.infer.score import METHOD as INFER_SCORE
from explaind.contract.methods.infer.tokenize import METHOD as INFER_TOKENIZE
from explaind.contract.methods.train.tuned_lens import METHOD as TRAIN_TUNED_LENS


class Evaluate:
    """The methods of /evaluate."""

    def __init__(self, driver: FlowDriver) -> None:
        self.questions = MethodCall(driver, EVALUATE_QUESTIONS)


class Explain:
    """The methods of /explain."""

    def __init__(self, driver: FlowDriver) -> None:
        self.activation_patching = MethodCall(driver, EXPLAIN_ACTIVATION_PATCHING)
        self.attention = MethodCall(driver, EXPLAIN_ATTENTION)
        self.compare_methods = MethodCall(driver, EXPLAIN_COMPARE_METHODS)
        self.deeplift = MethodCall(driver, EXPLAIN_DEEPLIFT)
        self.feature_ablation = MethodCall(driver, EXPLAIN_FEATURE_ABLATION)
        self.gradient_shap = MethodCall(driver, EXPLAIN_GRADIENT_SHAP)
        self.head_ablation = MethodCall(driver, EXPLAIN_HEAD_ABLATION)
        self.input_x_gradient = MethodCall(driver, EXPLAIN_INPUT_X_GRADIENT)
        self.integrated_gradients = MethodCall(driver, EXPLAIN_INTEGRATED_GRADIENTS)
        self.kernel_shap = MethodCall(driver, EXPLAIN_KERNEL_SHAP)
        self.layer_ablation = MethodCall(driver, EXPLAIN_LAYER_ABLATION)
        self.lime = MethodCall(driver, EXPLAIN_LIME)
        self.logit_attribution = MethodCall(driver, EXPLAIN_LOGIT_ATTRIBUTION)
        self.logit_lens = MethodCall(driver, EXPLAIN_LOGIT_LENS)
        self.occlusion = MethodCall(driver, EXPLAIN_OCCLUSION)
        self.saliency = MethodCall(driver, EXPLAIN_SALIENCY)
        self.shap = MethodCall(driver, EXPLAIN_SHAP)
        self.shapley_sampling = MethodCall(driver, EXPLAIN_SHAPLEY_SAMPLING)
        self.tuned_lens = MethodCall(driver, EXPLAIN_TUNED_LENS)


class Infer:
    """The methods of /infer."""

    def __init__(self, driver: FlowDriver) -> None:
        self.classify = MethodCall(driver, INFER_CLASSIFY)
        self.generate = MethodCall(driver, INFER_GENERATE)
        self.score = MethodCall(driver, INFER_SCORE)
        self.tokenize = MethodCall(driver, INFER_TOKENIZE)


class Train:
    """The methods of /train."""

    def __init__(self, driver: FlowDriver) -> None:
        self.tuned_lens = MethodCall(driver, TRAIN_TUNED_LENS)


class Methods:
    """Every method under its verb."""

    def __init__(self, driver: FlowDriver) -> None:
        self.evaluate = Evaluate(driver)
        self.explain = Explain(driver)
        self.infer = Infer(driver)
        self.train = Train(driver)
