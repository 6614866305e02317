"""What a job will cost, told before it runs."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import ResponseModel

ESTIMATE = "estimate"  # the verb of the jobs that have an Estimate as their result


class Estimate(ResponseModel):
    """What a request would cost if it ran now, on the worker that answers.

    Forwards and tokens are counted by going through the method without the model; they are exact unless what the model
    answers decides how much is asked: then they are the most it can be.
    """

    kind: Literal["estimate"] = "estimate"
    method: str = Field(description="The method it is an estimate of.", examples=["explain/shap"])
    forwards: int = Field(description="Forward passes through the model.", examples=[3])
    tokens_evaluated: int = Field(description="Tokens that go through the blocks, each distinct prefix once.")
    tokens_saved: int = Field(description="Tokens that one forward per question would cost on top.")
    evaluations: int | None = Field(
        default=None, description="Coalitions whose score is asked for; null where the method has none.", examples=[512]
    )
    model_bytes: int = Field(description="Bytes of the weights.")
    peak_bytes: int = Field(description="Most bytes in use at once beside the weights; an upper bound.")
    free_bytes: int = Field(description="Bytes that there are for that now, on this worker, beside the weights.")
    fits: bool = Field(
        description="Whether it can run here at all: weights and at least one row at a time, other models having left."
    )
    seconds: float = Field(description="Seconds of work, with the machine as busy as it was; loading not included.")
    load_s: float | None = Field(
        description="Seconds of loading the weights first: 0 where they are in memory, null where they are not and "
        "have not been loaded by this worker yet."
    )
    basis: Literal["measured", "calibrated", "assumed"] = Field(
        description="What the seconds go by: jobs of this model on this worker; forwards timed for the purpose; or, "
        "for a model not in memory, its size and the speed of the device."
    )
    note: str | None = Field(default=None, description="What to keep in mind, where there is something.")
