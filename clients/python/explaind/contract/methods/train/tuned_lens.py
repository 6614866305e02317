"""train/tuned-lens: one affine translator for each layer, so that the residual stream can be read before its end."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, Tag

from explaind.contract.base import ResponseModel, by_key
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, ModelRequest, Seed
from explaind.contract.files import MAX_NAME_CHARS, ArtifactCard, ColumnName, DatasetColumns
from explaind.contract.method import Method

MAX_TEXTS = 10_000
MAX_STEPS = 100_000

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT_CHARS)]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[A-Za-z0-9][\w. -]*$")]


class TextColumn(DatasetColumns):
    """The texts of a dataset."""

    column: ColumnName = Field(default="text", description="The column that holds them.", examples=["text"])
    limit: int | None = Field(
        default=None, ge=1, description="Read only so many rows, from the first.", examples=[None]
    )


Texts = Annotated[
    Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS), Tag("~Plain")]
    | Annotated[TextColumn, Tag("~TextColumn")],
    by_key(dataset="~TextColumn"),
]


class TrainTunedLensParams(ModelRequest):
    """Train a tuned lens of a model on texts."""

    text: Texts = Field(
        description='What to train on, text like that which the lens will read: a list of texts, or {"dataset", '
        '"column"}. Equal texts count once.',
        examples=[["3 + 4 = 7", "Review: The food was great. Sentiment: positive"]],
    )
    steps: int = Field(default=250, ge=1, le=MAX_STEPS, description="Steps of the optimizer.")
    batch_tokens: int = Field(default=4096, ge=1, le=1 << 22, description="Tokens of each step, or a text more.")
    max_length: int = Field(
        default=512, ge=1, le=1 << 20, description="Texts are cut into pieces of so many tokens, or of the context."
    )
    optimizer: Literal["sgd", "adam"] = Field(
        default="sgd", description="sgd: with Nesterov momentum of 0.9, as in the paper; adam: AMSGrad, with a warm-up."
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Falls to zero over the steps; null: 1 for sgd (divided by what momentum adds up to), else 0.001.",
        examples=[None],
    )
    weight_decay: float = Field(
        default=1e-3, ge=0, le=1, description="Draws the translators towards the logit lens, which is all zeros."
    )
    held_out: float = Field(
        default=0.1, gt=0, le=0.5, description="Share of the texts that is not trained on, and measured by."
    )
    checks: int = Field(default=5, ge=1, le=1000, description="How often the held-out texts are measured.")
    patience: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Stop when so many checks in a row did not better the held-out KL, and keep the best lens; null: "
        "train all steps and keep the last, so that what is measured has chosen nothing.",
        examples=[None],
    )
    seed: Seed = Field(default=0, description="Of what is held out, and of the order of the texts.")
    name: FileName | None = Field(
        default=None,
        description="Name of the file; null: the model's name with -tuned-lens.safetensors.",
        examples=[None],
    )


class LensQuality(ResponseModel):
    """How far two lenses are from what the model says in the end, on texts that neither was made of.

    Columns, one entry for each place in the stream, in its order; the last block's output is the model's own.
    """

    streams: list[str] = Field(description="resid_pre (of layer 0) or resid_post.")
    layers: list[int] = Field(description="The block, counted from 0.")
    logit_lens: list[float] = Field(description="Mean KL(final ‖ lens) over the places, in nats.")
    tuned_lens: list[float] = Field(description="The same of the lens that was trained.")
    tokens: int = Field(description="Places that the means are over.")
    texts: int


class LensHistory(ResponseModel):
    """How the training went: columns, one entry for each step or check. KL in nats, mean over places and depths."""

    kl: list[float] = Field(description="Per step, of its own texts before it was taken.")
    check_steps: list[int] = Field(description="How many steps had been taken at each check; 0 is the logit lens.")
    held_out_kl: list[float] = Field(description="Per check.")


class TunedLensTraining(ResponseModel):
    """A tuned lens, kept as an artifact, beside the logit lens on texts that it has not seen."""

    kind: Literal["tuned_lens_training"] = "tuned_lens_training"
    lens: ArtifactCard = Field(description="The file; its id is what explain/tuned-lens takes as `lens`.")
    held_out: LensQuality
    history: LensHistory
    steps: int = Field(description="Steps behind the lens that was kept.", examples=[250])
    tokens: int = Field(description="Places that were trained on, each time counted.")
    train_texts: int
    train_tokens: int = Field(description="Of the texts trained on, each counted once.")
    optimizer: str
    learning_rate: float
    finish_reason: Literal["steps", "patience", "cancelled"] = Field(
        description="steps: all were taken; patience: the held-out KL got no better; cancelled: the job was, and this "
        "is the lens of the last check before."
    )
    notes: list[str] = Field(default_factory=list, description="What a reader of these numbers should know.")


METHOD = Method(
    verb="train",
    name="tuned-lens",
    title="Train a tuned lens",
    summary="Trains an affine translator for each layer to say what the model says in the end, and keeps it.",
    params=TrainTunedLensParams,
    result=TunedLensTraining,
    citation="Belrose et al. 2023, Eliciting Latent Predictions from Transformers with the Tuned Lens",
    cost="per step one forward of its tokens, and an unembedding there and back per layer and token",
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
