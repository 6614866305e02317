"""explain/activation-patching: which activations carry what makes one prompt's answer different from another's."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import ResponseModel, wrong
from explaind.contract.blocks.attribution_result import ScoredText
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, Message, Score, Subject
from explaind.contract.blocks.units import Offset
from explaind.contract.method import Method

MAX_LAYERS, MAX_PLACES = 1024, 100_000

PatchPoint = Literal["resid_pre", "attn_out", "mlp_out", "z"]


class ActivationPatchingParams(Subject):
    """Activations of one run take the place of those of another, one at a time."""

    corrupted: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PROMPT_CHARS,
        description=(
            "The prompt with what matters changed, in exactly as many tokens: the run whose answer is another. Give "
            "this with `prompt`, or `corrupted_messages` with `messages`."
        ),
        examples=["When Mary and John went to the store, Mary gave a drink to"],
    )
    corrupted_messages: list[Message] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="The chat with what matters changed, where the prompt is one.",
        examples=[None],
    )
    direction: Literal["denoise", "noise"] = Field(
        default="denoise",
        description=(
            "denoise: activations of the prompt go into the run of the corrupted one: what is enough to bring the "
            "answer back. noise: the other way round: what cannot be done without."
        ),
    )
    grids: list[PatchPoint] = Field(
        default=["resid_pre", "attn_out", "mlp_out", "z"],
        min_length=1,
        max_length=4,
        description=(
            "The hook points that are patched: resid_pre (the residual stream that enters a block), attn_out and "
            "mlp_out (what its attention and its MLP add), each layer by position; and z (what single heads compute), "
            "layer by head, at all positions of the prompt."
        ),
    )
    layers: list[Offset] | None = Field(
        default=None, min_length=1, max_length=MAX_LAYERS, description="Layers, counted from 0; null: all."
    )
    positions: list[Offset] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PLACES,
        description="Tokens of the prompt, counted from 0, for the grids by position; null: all.",
    )

    @model_validator(mode="after")
    def _one_corrupted(self) -> "ActivationPatchingParams":
        if self.messages is None and (self.corrupted is None or self.corrupted_messages is not None):
            raise wrong("/corrupted", "Give 'corrupted', a text, beside 'prompt'.")
        if self.messages is not None and (self.corrupted_messages is None or self.corrupted is not None):
            raise wrong("/corrupted_messages", "Give 'corrupted_messages' beside 'messages'.")
        for name in ("grids", "layers", "positions"):
            chosen = getattr(self, name) or []
            if len(set(chosen)) < len(chosen):
                raise wrong(f"/{name}", "Each may be named once.")
        return self

    @property
    def corrupted_pointer(self) -> str:
        """The field that holds the corrupted prompt."""
        return "/corrupted" if self.messages is None else "/corrupted_messages"


class PatchGrid(ResponseModel):
    """Patches of one hook point: rows are layers, columns are positions, of z heads."""

    point: PatchPoint
    layers: list[int] = Field(description="The layer of each row.", examples=[[0, 1, 2, 3]])
    columns: list[int] = Field(description="The token of the prompt, or the head, of each column.")
    effects: list[list[float]] = Field(
        description="[row][column]: (patched − base) / (source − base). 0: the patch changes nothing; 1: it alone "
        "makes the answer that of the run it comes from; below 0: it leads the other way."
    )
    scores: list[list[float]] = Field(description="[row][column]: the patched run's score itself.")


class ActivationPatching(ResponseModel):
    """Which activations carry what makes the two runs answer differently.

    The base is the run that is patched and the source the run the patches come from: with denoise the corrupted and
    the clean one, with noise the clean and the corrupted one.
    """

    kind: Literal["activation_patching"] = "activation_patching"
    prompt: str = Field(description="The clean prompt; for messages, as the chat template wrote it.")
    corrupted: str
    tokens: list[str] = Field(description="The clean prompt's tokens, as text.")
    corrupted_tokens: list[str] = Field(description="The corrupted prompt's, one for each.")
    target: ScoredText = Field(description="Scored after the clean prompt.")
    foil: ScoredText | None = None
    labels: list[ScoredText] | None = Field(default=None, description="The closed set of answers, where one was given.")
    score: Score
    direction: Literal["denoise", "noise"]
    clean_score: float = Field(description="The target's (minus the foil's) after the clean prompt.", examples=[7.9])
    corrupted_score: float = Field(description="The same after the corrupted prompt.", examples=[-7.4])
    grids: list[PatchGrid]
    evaluations: int = Field(description="Patched runs.", examples=[224])

    def grid(self, point: PatchPoint) -> PatchGrid:
        """The grid of that hook point.

        Raises:
            KeyError: it was not requested.
        """
        for grid in self.grids:
            if grid.point == point:
                return grid
        raise KeyError(point)


METHOD = Method(
    verb="explain",
    name="activation-patching",
    title="Activation patching",
    summary="Puts activations of one run into another: which layers, positions and heads carry the answer.",
    params=ActivationPatchingParams,
    result=ActivationPatching,
    citation=(
        "Vig et al. 2020, Causal Mediation Analysis; Meng et al. 2022, ROME; Zhang & Nanda 2024, Best Practices of "
        "Activation Patching"
    ),
    cost="layers × (3 × positions + heads) patched runs, each from the patched layer on",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "corrupted": "When Mary and John went to the store, Mary gave a drink to",
        "target": " Mary",
        "foil": " John",
        "score": "logit",
        "grids": ["resid_pre", "z"],
    },
)
