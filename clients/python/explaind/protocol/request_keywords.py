# Generated from explaind/contract/methods by `make generate`.
"""The keywords of every method's calls, for type checkers: functions that are never called."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, cast

from explaind.contract.base import MethodResult
from explaind.contract.blocks.faithfulness import FaithfulnessOptions
from explaind.contract.blocks.questions import DatasetQuestions, InlineQuestions
from explaind.contract.blocks.subject import (
    ClassTarget,
    GeneratedTarget,
    LabelsTarget,
    Message,
    TextTarget,
    TokenIdsTarget,
)
from explaind.contract.blocks.units import ReplacementText, Segments
from explaind.contract.method import Method
from explaind.contract.methods.explain.compare_methods import ComparedSpec
from explaind.contract.methods.explain.head_ablation import GradientScreen
from explaind.contract.methods.train.tuned_lens import TextColumn
from explaind.contract.webhook import Webhook
from explaind.protocol.request_dicts import (
    ClassTargetDict,
    ComparedSpecDict,
    DatasetQuestionsDict,
    FaithfulnessOptionsDict,
    GeneratedTargetDict,
    GradientScreenDict,
    InlineQuestionsDict,
    LabelsTargetDict,
    MessageDict,
    ReplacementTextDict,
    SegmentsDict,
    TextColumnDict,
    TextTargetDict,
    TokenIdsTargetDict,
    WebhookDict,
)

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT", bound=MethodResult)


def called_as(keywords: Callable[P, None], method: Method[..., AnswerT]) -> Method[P, AnswerT]:
    """The method itself; to a type checker, its calls have those keywords."""
    return cast("Method[P, AnswerT]", method)


def evaluate_questions(
    *,
    model: str,
    questions: Literal["arithmetic", "multistep", "logic", "gsm8k"]
    | InlineQuestions
    | InlineQuestionsDict
    | DatasetQuestions
    | DatasetQuestionsDict = "arithmetic",
    template: str | None = None,
    chat: bool = False,
    max_new_tokens: int = 32,
    stop: list[str] | tuple[str, ...] = (),
    answer: Literal["auto", "first_number", "last_number", "choice", "first_words", "first_line"] = "auto",
    tolerance: float = 0.0,
    confidence: float = 0.95,
    activations: bool = False,
    random_splits: int = 200,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Questions."""


def explain_activation_patching(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    corrupted: str | None = None,
    corrupted_messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    direction: Literal["denoise", "noise"] = "denoise",
    grids: Sequence[Literal["resid_pre", "attn_out", "mlp_out", "z"]] = ("resid_pre", "attn_out", "mlp_out", "z"),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Activation patching."""


def explain_attention(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[tuple[int, int] | list[int]] | None = None,
    queries: Sequence[int] | None = None,
    special_as_sink: bool = False,
    threshold: float = 0.4,
    induction_probe: bool = True,
    probe_tokens: int = 50,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Attention patterns."""


def explain_compare_methods(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    methods: list[str | ComparedSpec | ComparedSpecDict | Mapping[str, Any]]
    | tuple[str | ComparedSpec | ComparedSpecDict | Mapping[str, Any], ...]
    | None = None,
    top_k: int | None = None,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Compare methods."""


def explain_deeplift(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "zero"] | ReplacementText | ReplacementTextDict = "mask",
    per_target: bool = False,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """DeepLIFT."""


def explain_feature_ablation(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Feature ablation."""


def explain_gradient_shap(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "zero"] | ReplacementText | ReplacementTextDict = "mask",
    per_target: bool = False,
    n_samples: int = 50,
    stdevs: float = 0.0,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Gradient SHAP."""


def explain_head_ablation(
    *,
    model: str,
    questions: Literal["arithmetic", "multistep", "logic", "gsm8k"]
    | InlineQuestions
    | InlineQuestionsDict
    | DatasetQuestions
    | DatasetQuestionsDict = "arithmetic",
    template: str | None = None,
    chat: bool = False,
    ablation: Literal["zero", "mean", "resample"] = "zero",
    metric: Literal["logprob", "logit_difference", "accuracy"] = "logprob",
    positions: Literal["all", "last"] = "all",
    max_new_tokens: int | None = None,
    answer: Literal["auto", "first_number", "last_number", "choice", "first_words", "first_line"] = "auto",
    confidence: float = 0.95,
    seed: int = 0,
    heads: Sequence[tuple[int, int] | list[int]] | None = None,
    sets: Sequence[Sequence[tuple[int, int] | list[int]]] | None = None,
    greedy: int | None = None,
    first_pass: GradientScreen | GradientScreenDict | None = None,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Head ablation."""


def explain_input_x_gradient(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "zero"] | ReplacementText | ReplacementTextDict = "zero",
    per_target: bool = False,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Input × gradient."""


def explain_integrated_gradients(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "zero"] | ReplacementText | ReplacementTextDict = "mask",
    per_target: bool = False,
    n_steps: int | Literal["auto"] = 50,
    tolerance: float = 0.01,
    max_steps: int = 1600,
    quadrature: Literal[
        "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"
    ] = "gausslegendre",
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Integrated gradients."""


def explain_kernel_shap(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    n_samples: int = 512,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Kernel SHAP (captum)."""


def explain_layer_ablation(
    *,
    model: str,
    questions: Literal["arithmetic", "multistep", "logic", "gsm8k"]
    | InlineQuestions
    | InlineQuestionsDict
    | DatasetQuestions
    | DatasetQuestionsDict = "arithmetic",
    template: str | None = None,
    chat: bool = False,
    ablation: Literal["zero", "mean", "resample"] = "zero",
    metric: Literal["logprob", "logit_difference", "accuracy"] = "logprob",
    positions: Literal["all", "last"] = "all",
    max_new_tokens: int | None = None,
    answer: Literal["auto", "first_number", "last_number", "choice", "first_words", "first_line"] = "auto",
    confidence: float = 0.95,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    components: Sequence[Literal["attention", "mlp", "block"]] = ("attention", "mlp", "block"),
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Layer ablation."""


def explain_lime(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    n_samples: int = 512,
    kernel_width: float = 1.0,
    distance: Literal["cosine", "euclidean"] = "cosine",
    alpha: float = 0.01,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """LIME."""


def explain_logit_attribution(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    by_target: bool = True,
    top: int = 20,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Logit attribution."""


def explain_logit_lens(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | None = None,
    foil: str | TextTarget | TextTargetDict | TokenIdsTarget | TokenIdsTargetDict | None = None,
    track: list[str | int] | tuple[str | int, ...] = (),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    last: int | None = None,
    top: int = 5,
    streams: Sequence[Literal["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"]] = (
        "resid_pre",
        "attn_out",
        "resid_mid",
        "mlp_out",
        "resid_post",
    ),
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Logit lens."""


def explain_occlusion(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    window: int = 2,
    stride: int = 1,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Occlusion."""


def explain_saliency(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "zero"] | ReplacementText | ReplacementTextDict = "mask",
    per_target: bool = False,
    reduce: Literal["l1", "l2", "max"] = "l1",
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Saliency."""


def explain_shap(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    algorithm: Literal["auto", "exact", "kernel", "permutation", "partition"] = "auto",
    budget: int | Literal["auto"] = 512,
    tolerance: float = 0.05,
    max_budget: int = 4096,
    interactions: bool = False,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Token SHAP."""


def explain_shapley_sampling(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | LabelsTarget
    | LabelsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    foil: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | ClassTarget
    | ClassTargetDict
    | None = None,
    score: Literal["logprob", "prob", "logit"] = "logprob",
    units: Literal["token", "word", "sentence"] | Segments | SegmentsDict = "word",
    faithfulness: bool | FaithfulnessOptions | FaithfulnessOptionsDict = False,
    baseline: Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict = "mask",
    precision: Literal["full", "fast"] = "full",
    n_samples: int = 25,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Shapley value sampling."""


def explain_tuned_lens(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    target: str
    | TextTarget
    | TextTargetDict
    | TokenIdsTarget
    | TokenIdsTargetDict
    | GeneratedTarget
    | GeneratedTargetDict
    | None = None,
    foil: str | TextTarget | TextTargetDict | TokenIdsTarget | TokenIdsTargetDict | None = None,
    track: list[str | int] | tuple[str | int, ...] = (),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    last: int | None = None,
    top: int = 5,
    lens: str | None = None,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Tuned lens."""


def infer_classify(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    labels: list[str] | tuple[str, ...] | None = None,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Classify."""


def infer_generate(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int | None = None,
    stop: list[str] | tuple[str, ...] = (),
    top_logprobs: int = 0,
    seed: int = 0,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Generate."""


def infer_score(
    *,
    model: str,
    target: str | TextTarget | TextTargetDict | TokenIdsTarget | TokenIdsTargetDict,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    top_logprobs: int = 0,
    prompt_logprobs: bool = False,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Score."""


def infer_tokenize(
    *,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Message | MessageDict | Mapping[str, Any]] | None = None,
    units: Literal["token", "word", "sentence"] = "word",
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Tokenize."""


def train_tuned_lens(
    *,
    model: str,
    text: list[str] | tuple[str, ...] | TextColumn | TextColumnDict,
    steps: int = 250,
    batch_tokens: int = 4096,
    max_length: int = 512,
    optimizer: Literal["sgd", "adam"] = "sgd",
    learning_rate: float | None = None,
    weight_decay: float = 0.001,
    held_out: float = 0.1,
    checks: int = 5,
    patience: int | None = None,
    seed: int = 0,
    name: str | None = None,
    metadata: Mapping[str, str] = {},
    priority: Literal["low", "normal", "high"] = "normal",
    timeout_s: float | None = None,
    keep_s: int | None = None,
    webhook: str | Webhook | WebhookDict | None = None,
) -> None:
    """Train a tuned lens."""
