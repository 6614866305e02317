"""explain/activation-patching: which activations cause the difference between the answers to two prompts."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import MethodResult, ResponseModel, wrong
from explaind.contract.blocks.attribution_result import ScoredText
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, Message, Score, Subject
from explaind.contract.blocks.units import Offset
from explaind.contract.method import Method

MAX_LAYERS, MAX_PLACES = 1024, 100_000

PatchPoint = Literal["resid_pre", "attn_out", "mlp_out", "z"]


class ActivationPatchingParams(Subject):
    """Patches activations of one run into another, one at a time."""

    corrupted: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PROMPT_CHARS,
        description=(
            "Corrupted prompt: the prompt with the decisive part changed, in exactly as many tokens, so that "
            "the answer is different. Give this with `prompt`, or `corrupted_messages` with `messages`."
        ),
        examples=["When Mary and John went to the store, Mary gave a drink to"],
    )
    corrupted_messages: list[Message] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Corrupted chat: the messages with the decisive part changed, where the prompt is a chat.",
        examples=[None],
    )
    direction: Literal["denoise", "noise"] = Field(
        default="denoise",
        description=(
            "Direction of the patches. denoise: activations of the prompt are patched into the corrupted run, "
            "which shows what suffices to restore the answer. noise: the reverse, which shows what is "
            "necessary for it."
        ),
    )
    grids: list[PatchPoint] = Field(
        default=["resid_pre", "attn_out", "mlp_out", "z"],
        min_length=1,
        max_length=4,
        description=(
            "Hook points to patch: resid_pre (the residual stream that enters a block), attn_out and mlp_out "
            "(the contribution of its attention and of its MLP), each layer by position; and z (the output of "
            "single heads), layer by head, at all positions of the prompt."
        ),
    )
    layers: list[Offset] | None = Field(
        default=None, min_length=1, max_length=MAX_LAYERS, description="Layers to patch, counted from 0; null: all."
    )
    positions: list[Offset] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PLACES,
        description="Tokens of the prompt to patch, counted from 0, for the grids by position; null: all.",
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
    """Patches at one hook point: rows are layers; columns are positions, or heads for z."""

    point: PatchPoint
    layers: list[int] = Field(description="Layer of each row.", examples=[[0, 1, 2, 3]])
    columns: list[int] = Field(description="Token of the prompt, or head, of each column.")
    effects: list[list[float]] = Field(
        description=(
            "[row][column]: (patched − base) / (source − base). 0: the patch changes nothing; 1: it alone "
            "gives the answer of the source run; below 0: it has the opposite effect."
        )
    )
    scores: list[list[float]] = Field(description="[row][column]: score of the patched run.")


class ActivationPatching(MethodResult):
    """Activations that carry the difference between the answers of two runs.

    The base is the run that is patched and the source the run that the patches come from: with denoise the corrupted
    and the clean one, with noise the clean and the corrupted one.
    """

    kind: Literal["activation_patching"] = "activation_patching"
    prompt: str = Field(description="Clean prompt; for messages, as written by the chat template.")
    corrupted: str
    tokens: list[str] = Field(description="Tokens of the clean prompt, as text.")
    corrupted_tokens: list[str] = Field(
        description="Tokens of the corrupted prompt, as text, one for each token of the clean prompt."
    )
    target: ScoredText = Field(description="Target, scored after the clean prompt.")
    foil: ScoredText | None = None
    labels: list[ScoredText] | None = Field(default=None, description="Closed set of answers, where one was given.")
    score: Score
    direction: Literal["denoise", "noise"]
    clean_score: float = Field(
        description="Score of the target (minus that of the foil) after the clean prompt.", examples=[7.9]
    )
    corrupted_score: float = Field(
        description="Score of the target (minus that of the foil) after the corrupted prompt.", examples=[-7.4]
    )
    grids: list[PatchGrid]
    evaluations: int = Field(description="Number of patched runs.", examples=[224])

    def grid(self, point: PatchPoint) -> PatchGrid:
        """The grid of that hook point.

        Raises:
            KeyError: that hook point was not requested.
        """
        for grid in self.grids:
            if grid.point == point:
                return grid
        raise KeyError(point)


METHOD = Method(
    verb="explain",
    name="activation-patching",
    title="Activation patching",
    summary=(
        "Patches activations of one run into another to find the layers, positions and heads that carry the answer."
    ),
    params=ActivationPatchingParams,
    result=ActivationPatching,
    citation=(
        "Vig et al. 2020, Causal Mediation Analysis; Meng et al. 2022, ROME; Zhang & Nanda 2024, Best Practices of "
        "Activation Patching"
    ),
    version="2",
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
