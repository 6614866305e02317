"""Estimated cost of a job before it runs."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import ResponseModel

ESTIMATE = "estimate"  # the verb of jobs whose result is an Estimate


class Estimate(ResponseModel):
    """Estimated cost of a request if it ran now, on the worker that answers.

    Forwards and tokens are counted by running through the method without the model; they are exact unless the amount of
    work depends on the model's output: then they are upper bounds.
    """

    kind: Literal["estimate"] = "estimate"
    method: str = Field(description="Method that the estimate is for.", examples=["explain/shap"])
    forwards: int = Field(description="Number of forward passes through the model.", examples=[3])
    tokens_evaluated: int = Field(description="Number of tokens through the blocks, each distinct prefix counted once.")
    tokens_saved: int = Field(
        description="Number of additional tokens that a separate forward for each evaluated text would take."
    )
    evaluations: int | None = Field(
        default=None,
        description="Number of coalitions whose score is requested; null where the method has none.",
        examples=[512],
    )
    model_bytes: int = Field(description="Size of the weights, in bytes.")
    peak_bytes: int = Field(description="Maximum bytes in use at once in addition to the weights; an upper bound.")
    free_bytes: int = Field(description="Bytes available for that now on this worker, in addition to the weights.")
    fits: bool = Field(
        description=(
            "Whether the job can run on this worker at all: weights and at least one row at a time, with "
            "other models unloaded."
        )
    )
    seconds: float = Field(
        description="Estimated seconds of work, with the machine as busy as it was; loading not included."
    )
    load_s: float | None = Field(
        description=(
            "Estimated seconds to load the weights first: 0 where they are in memory, null where they are not "
            "and this worker has not loaded them yet."
        )
    )
    basis: Literal["measured", "calibrated", "assumed"] = Field(
        description=(
            "Basis of the estimated seconds. measured: jobs of this model on this worker; calibrated: "
            "forwards timed for the purpose; assumed: for a model not in memory, its size and the speed of "
            "the device."
        )
    )
    note: str | None = Field(default=None, description="Remark on the estimate, where there is one.")
