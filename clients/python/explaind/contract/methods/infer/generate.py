"""infer/generate: generates a continuation with the log-probability of each token."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from explaind.contract.base import MethodResult
from explaind.contract.blocks.attribution_result import RankedToken
from explaind.contract.blocks.subject import MAX_TARGET_TOKENS, PromptRequest, Seed
from explaind.contract.method import Method

StopText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class GenerateParams(PromptRequest):
    """Generate a continuation."""

    max_new_tokens: int = Field(default=20, ge=1, le=MAX_TARGET_TOKENS, description="Maximum tokens to generate.")
    temperature: float = Field(
        default=0.0, ge=0.0, le=10.0, description="Sampling temperature; 0 takes the likeliest token each time."
    )
    top_p: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="Total probability of the likeliest tokens to sample among.",
    )
    top_k: int | None = Field(default=None, ge=1, le=1000, description="Number of likeliest tokens to sample among.")
    stop: list[StopText] = Field(
        default_factory=list, max_length=16, description="Stop texts; generation ends when one of them appears."
    )
    top_logprobs: int = Field(default=0, ge=0, le=20, description="Number of alternatives to list at each position.")
    seed: Seed = Field(
        default=0, description="Seed of the random numbers; the same request with the same seed gives the same text."
    )


Finish = Literal["end", "stop", "length", "cancelled"]


class Generation(MethodResult):
    """A continuation with the log-probability of each of its tokens under the unmodified distribution."""

    kind: Literal["generation"] = "generation"
    prompt: str = Field(description="Continued text; for messages, as written by the chat template.")
    text: str = Field(description="Continuation, without the stop text or end token that ended it.")
    tokens: list[RankedToken] = Field(description="Generated tokens, including an end token.")
    logprob: float = Field(description="Sum of the tokens' log-probabilities, in nats.")
    finish_reason: Finish = Field(
        description=(
            "Reason why generation ended. end: the model ended; stop: a stop text appeared; length: "
            "max_new_tokens was reached; cancelled: the job was cancelled, and the text is partial."
        )
    )


METHOD = Method(
    verb="infer",
    name="generate",
    title="Generate",
    summary="Continue a prompt, greedily or by sampling, with the log-probability and rank of every token.",
    params=GenerateParams,
    result=Generation,
    version="2",
    cost="one forward per token",
    example={"model": "demo", "prompt": "47 + 38 =", "max_new_tokens": 8, "top_logprobs": 3},
)
