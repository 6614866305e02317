"""train/tuned-lens: trains one affine translator per layer, which decodes the residual stream before its end."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, Tag

from explaind.contract.base import MethodResult, ResponseModel, by_key
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, Seed
from explaind.contract.files import MAX_NAME_CHARS, ArtifactCard, ColumnName, DatasetColumns
from explaind.contract.method import Method
from explaind.contract.request import ModelRequest

MAX_TEXTS = 10_000
MAX_STEPS = 100_000

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT_CHARS)]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[A-Za-z0-9][\w. -]*$")]


class TextColumn(DatasetColumns):
    """Texts from a column of a dataset."""

    column: ColumnName = Field(default="text", description="Column with the texts.", examples=["text"])
    limit: int | None = Field(default=None, ge=1, description="Maximum rows to read, from the first.", examples=[None])


Texts = Annotated[
    Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS), Tag("~Plain")]
    | Annotated[TextColumn, Tag("~TextColumn")],
    by_key(dataset="~TextColumn"),
]


class TrainTunedLensParams(ModelRequest):
    """Train a tuned lens of a model on texts."""

    text: Texts = Field(
        description=(
            'Training texts, similar to those that the lens will read: a list of texts, or {"dataset", '
            '"column"}. Equal texts count once.'
        ),
        examples=[["3 + 4 = 7", "Review: The food was great. Sentiment: positive"]],
    )
    steps: int = Field(default=250, ge=1, le=MAX_STEPS, description="Number of optimizer steps.")
    batch_tokens: int = Field(
        default=4096, ge=1, le=1 << 22, description="Tokens per step; exceeded by at most one piece of text."
    )
    max_length: int = Field(
        default=512,
        ge=1,
        le=1 << 20,
        description="Maximum tokens of the pieces that texts are cut into, at most the model's context.",
    )
    optimizer: Literal["sgd", "adam"] = Field(
        default="sgd",
        description="Optimizer. sgd: with Nesterov momentum of 0.9, as in the paper; adam: AMSGrad, with a warm-up.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description=(
            "Learning rate, which falls to zero over the steps; null: 1 for sgd (divided by what momentum "
            "adds up to), else 0.001."
        ),
        examples=[None],
    )
    weight_decay: float = Field(
        default=1e-3,
        ge=0,
        le=1,
        description="Weight decay, which draws the translators towards the logit lens (all zeros).",
    )
    held_out: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Share of the texts that is excluded from training and used for measurement.",
    )
    checks: int = Field(default=5, ge=1, le=1000, description="Number of measurements on the held-out texts.")
    patience: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description=(
            "Number of checks in a row without a better held-out KL after which training stops, keeping the "
            "best lens; null: train all steps and keep the last lens, so that the held-out texts influence no "
            "choice."
        ),
        examples=[None],
    )
    seed: Seed = Field(default=0, description="Seed of the choice of held-out texts and of the order of the texts.")
    name: FileName | None = Field(
        default=None,
        description="File name of the lens; null: the model's name with -tuned-lens.safetensors.",
        examples=[None],
    )


class LensQuality(ResponseModel):
    """Divergence of two lenses from the model's final prediction, on texts that neither was trained on.

    Columns, one entry for each place in the stream, in its order; the last block's output is the model's own.
    """

    streams: list[str] = Field(description="Hook point of each entry: resid_pre (of layer 0) or resid_post.")
    layers: list[int] = Field(description="Block of each entry, counted from 0.")
    logit_lens: list[float] = Field(description="Mean KL(final ‖ logit lens) over the tokens, in nats.")
    tuned_lens: list[float] = Field(description="Mean KL(final ‖ trained lens) over the tokens, in nats.")
    tokens: int = Field(description="Number of tokens that the means are over.")
    texts: int


class LensHistory(ResponseModel):
    """Course of training: columns, one entry for each step or check. KL in nats, mean over tokens and depths."""

    kl: list[float] = Field(description="[step]: KL on the texts of the step, before the step is taken.")
    check_steps: list[int] = Field(description="[check]: number of steps taken before the check; 0 is the logit lens.")
    held_out_kl: list[float] = Field(description="[check]: KL on the held-out texts.")


class TunedLensTraining(MethodResult):
    """A tuned lens, kept as an artifact, and its comparison with the logit lens on held-out texts."""

    kind: Literal["tuned_lens_training"] = "tuned_lens_training"
    lens: ArtifactCard = Field(description="Artifact of the lens; explain/tuned-lens takes its id as `lens`.")
    held_out: LensQuality
    history: LensHistory
    steps: int = Field(description="Number of training steps of the lens that was kept.", examples=[250])
    tokens: int = Field(description="Number of tokens trained on, repetitions included.")
    train_texts: int
    train_tokens: int = Field(description="Number of tokens in the training texts, each counted once.")
    optimizer: str
    learning_rate: float
    finish_reason: Literal["steps", "patience", "cancelled"] = Field(
        description=(
            "Reason why training ended. steps: all were taken; patience: the held-out KL stopped improving; "
            "cancelled: the job was cancelled, and the lens is that of the last check before."
        )
    )


METHOD = Method(
    verb="train",
    name="tuned-lens",
    title="Train a tuned lens",
    summary=(
        "Trains an affine translator for each layer to predict the model's final output, and keeps it as an artifact."
    ),
    params=TrainTunedLensParams,
    result=TunedLensTraining,
    citation="Belrose et al. 2023, Eliciting Latent Predictions from Transformers with the Tuned Lens",
    version="2",
    cost=("per step one forward of its tokens, and an unembedding forward and backward per layer and token"),
    example={
        "model": "demo",
        "text": [
            "3 + 4 = 7",
            "47 + 38 = 85",
            "Review: The food was great. Sentiment: positive",
            "Review: The staff were rude. Sentiment: negative",
            "When Mary and John went to the store, John gave a drink to Mary",
        ],
        "steps": 10,
        "batch_tokens": 64,
        "checks": 1,
    },
)
