# Generated from explaind/contract/methods by `make generate`.
"""The methods as attributes of a client."""

from explaind._async.driver import AsyncFlowDriver
from explaind._async.jobs import AsyncMethodCall
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
from explaind.protocol.method_group import MethodGroup
from explaind.protocol.request_keywords import (
    called_as,
    evaluate_questions,
    explain_activation_patching,
    explain_attention,
    explain_compare_methods,
    explain_deeplift,
    explain_feature_ablation,
    explain_gradient_shap,
    explain_head_ablation,
    explain_input_x_gradient,
    explain_integrated_gradients,
    explain_kernel_shap,
    explain_layer_ablation,
    explain_lime,
    explain_logit_attribution,
    explain_logit_lens,
    explain_occlusion,
    explain_saliency,
    explain_shap,
    explain_shapley_sampling,
    explain_tuned_lens,
    infer_classify,
    infer_generate,
    infer_score,
    infer_tokenize,
    train_tuned_lens,
)


class AsyncEvaluate(MethodGroup):
    """The methods of /evaluate."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self.questions = AsyncMethodCall(driver, called_as(evaluate_questions, EVALUATE_QUESTIONS))


class AsyncExplain(MethodGroup):
    """The methods of /explain."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self.activation_patching = AsyncMethodCall(
            driver, called_as(explain_activation_patching, EXPLAIN_ACTIVATION_PATCHING)
        )
        self.attention = AsyncMethodCall(driver, called_as(explain_attention, EXPLAIN_ATTENTION))
        self.compare_methods = AsyncMethodCall(driver, called_as(explain_compare_methods, EXPLAIN_COMPARE_METHODS))
        self.deeplift = AsyncMethodCall(driver, called_as(explain_deeplift, EXPLAIN_DEEPLIFT))
        self.feature_ablation = AsyncMethodCall(driver, called_as(explain_feature_ablation, EXPLAIN_FEATURE_ABLATION))
        self.gradient_shap = AsyncMethodCall(driver, called_as(explain_gradient_shap, EXPLAIN_GRADIENT_SHAP))
        self.head_ablation = AsyncMethodCall(driver, called_as(explain_head_ablation, EXPLAIN_HEAD_ABLATION))
        self.input_x_gradient = AsyncMethodCall(driver, called_as(explain_input_x_gradient, EXPLAIN_INPUT_X_GRADIENT))
        self.integrated_gradients = AsyncMethodCall(
            driver, called_as(explain_integrated_gradients, EXPLAIN_INTEGRATED_GRADIENTS)
        )
        self.kernel_shap = AsyncMethodCall(driver, called_as(explain_kernel_shap, EXPLAIN_KERNEL_SHAP))
        self.layer_ablation = AsyncMethodCall(driver, called_as(explain_layer_ablation, EXPLAIN_LAYER_ABLATION))
        self.lime = AsyncMethodCall(driver, called_as(explain_lime, EXPLAIN_LIME))
        self.logit_attribution = AsyncMethodCall(
            driver, called_as(explain_logit_attribution, EXPLAIN_LOGIT_ATTRIBUTION)
        )
        self.logit_lens = AsyncMethodCall(driver, called_as(explain_logit_lens, EXPLAIN_LOGIT_LENS))
        self.occlusion = AsyncMethodCall(driver, called_as(explain_occlusion, EXPLAIN_OCCLUSION))
        self.saliency = AsyncMethodCall(driver, called_as(explain_saliency, EXPLAIN_SALIENCY))
        self.shap = AsyncMethodCall(driver, called_as(explain_shap, EXPLAIN_SHAP))
        self.shapley_sampling = AsyncMethodCall(driver, called_as(explain_shapley_sampling, EXPLAIN_SHAPLEY_SAMPLING))
        self.tuned_lens = AsyncMethodCall(driver, called_as(explain_tuned_lens, EXPLAIN_TUNED_LENS))


class AsyncInfer(MethodGroup):
    """The methods of /infer."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self.classify = AsyncMethodCall(driver, called_as(infer_classify, INFER_CLASSIFY))
        self.generate = AsyncMethodCall(driver, called_as(infer_generate, INFER_GENERATE))
        self.score = AsyncMethodCall(driver, called_as(infer_score, INFER_SCORE))
        self.tokenize = AsyncMethodCall(driver, called_as(infer_tokenize, INFER_TOKENIZE))


class AsyncTrain(MethodGroup):
    """The methods of /train."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self.tuned_lens = AsyncMethodCall(driver, called_as(train_tuned_lens, TRAIN_TUNED_LENS))


class AsyncMethods:
    """Every method under its verb."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self.evaluate = AsyncEvaluate(driver)
        self.explain = AsyncExplain(driver)
        self.infer = AsyncInfer(driver)
        self.train = AsyncTrain(driver)
