"""explain/tuned-lens: the prediction of each layer, through translators trained for the model."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from explaind.contract.base import ResponseModel
from explaind.contract.blocks.lens import LensReading, LensRequest
from explaind.contract.files import ArtifactId
from explaind.contract.method import Method

LensName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LensChoice = Annotated[
    Annotated[ArtifactId, Tag("~Artifact")] | Annotated[LensName, Tag("~Name")],
    Discriminator(lambda value: "~Artifact" if isinstance(value, str) and value.startswith("art_") else "~Name"),
]


class TunedLensParams(LensRequest):
    """Decode the residual stream, as it enters the first block and leaves each, through a tuned lens."""

    lens: LensChoice | None = Field(
        default=None,
        description=(
            "Lens to decode with: an artifact of train/tuned-lens, or a name among `attachments.lenses` of "
            "the model in `GET /models`; null: the first of those."
        ),
        examples=[None],
    )


class LensOrigin(ResponseModel):
    """Origin of a lens, and the properties checked against the model."""

    name: str = Field(description="Name of the lens, as in the request.", examples=["tuned"])
    form: Literal["explaind", "tuned-lens"] = Field(
        description=(
            "Format of the lens. explaind: made by train/tuned-lens; tuned-lens: a checkpoint as the "
            "tuned-lens project writes it."
        )
    )
    made_for: str = Field(description="Model that the lens declares it was made for.", examples=["demo"])
    checked: list[str] = Field(description="Declared properties that were compared with this model and match.")
    trained_steps: int | None = Field(
        default=None, description="Number of training steps, where the lens declares it.", examples=[250]
    )


class PlainStream(ResponseModel):
    """The logit lens at the same positions, for comparison."""

    stream: str = Field(description="Hook point: resid_pre or resid_post.", examples=["resid_post"])
    layers: list[int]
    divergence: list[list[float]] = Field(description="[layer][position]: KL(final ‖ logit lens), in nats.")
    agreement: list[float] = Field(description="[layer]: share of positions whose top token is the final one.")


class TunedLens(LensReading):
    """Decoded predictions of each layer through a lens trained for it, with the logit lens for comparison."""

    kind: Literal["tuned_lens"] = "tuned_lens"
    lens: LensOrigin
    logit_lens: list[PlainStream] = Field(description="One per stream of the result, in the same order.")


METHOD = Method(
    verb="explain",
    name="tuned-lens",
    title="Tuned lens",
    summary="The residual stream of every layer and position decoded through translators trained for its layer.",
    params=TunedLensParams,
    result=TunedLens,
    citation="Belrose et al. 2023, Eliciting Latent Predictions from Transformers with the Tuned Lens",
    version="2",
    cost="two forwards, and two unembeddings per layer and position: the tuned lens and the logit lens",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "foil": " John",
        "last": 4,
    },
)
