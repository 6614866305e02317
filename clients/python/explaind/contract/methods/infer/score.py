"""infer/score: log-probability of a given continuation."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import MethodResult, wrong
from explaind.contract.blocks.attribution_result import RankedToken
from explaind.contract.blocks.subject import Continuation, PromptRequest
from explaind.contract.method import Method


class ScoreParams(PromptRequest):
    """Score a continuation, and the prompt itself if requested."""

    target: Continuation = Field(
        description='Continuation to score: a string, {"text"} or {"token_ids"}.', examples=[" 7"]
    )
    top_logprobs: int = Field(default=0, ge=0, le=20, description="Number of alternatives to list at each position.")
    prompt_logprobs: bool = Field(default=False, description="Whether to score the prompt's own tokens too.")

    @model_validator(mode="after")
    def _whole_target(self) -> "ScoreParams":
        for name in ("span", "span_text"):
            if getattr(self.target, name, None) is not None:
                raise wrong(f"/target/{name}", f"Every token of the target is scored here: leave {name!r} out.")
        return self


class Scoring(MethodResult):
    """The target's tokens, each with its log-probability and rank after everything before it."""

    kind: Literal["scoring"] = "scoring"
    prompt: str = Field(description="Text before the target; for messages, as written by the chat template.")
    text: str = Field(description="Text of the target.")
    tokens: list[RankedToken]
    logprob: float = Field(description="Sum of the target tokens' log-probabilities, in nats.")
    perplexity: float = Field(description="Perplexity: exp of minus the mean log-probability of the target's tokens.")
    prompt_tokens: list[RankedToken] | None = Field(default=None, description="Tokens of the prompt, where requested.")


METHOD = Method(
    verb="infer",
    name="score",
    title="Score",
    summary="Log-probability and rank of every token of a given continuation.",
    params=ScoreParams,
    result=Scoring,
    version="2",
    cost="one forward",
    example={"model": "demo", "prompt": "3 + 4 =", "target": " 7", "top_logprobs": 3},
)
