"""Fields of every attribution: subject and units; for perturbation methods also the baseline."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import wrong
from explaind.contract.blocks.faithfulness import FaithfulnessChoice
from explaind.contract.blocks.subject import Subject
from explaind.contract.blocks.units import Baseline, Segments, Units


class AttributionRequest(Subject):
    """Request for the contribution of each unit of the prompt to the score."""

    units: Units = Field(
        default="word",
        description=(
            'Units of the prompt that receive a value: "token", "word", "sentence" or {"segments": [[start, end]]}.'
        ),
        examples=["word"],
    )
    faithfulness: FaithfulnessChoice = Field(
        default=False,
        description=(
            "Whether to check the attribution on the model: units are removed (deletion, comprehensiveness) "
            "and inserted (insertion, sufficiency) in order of their value, and compared with random orders. "
            "true, or an object with options."
        ),
        examples=[False],
    )

    @model_validator(mode="after")
    def _segments_within_prompt(self) -> "AttributionRequest":
        if isinstance(self.units, Segments) and self.prompt is not None:
            for index, segment in enumerate(self.units.segments):
                if segment[1] > len(self.prompt):
                    raise wrong(
                        f"/units/segments/{index}",
                        f"The segment ends at {segment[1]}, past the prompt's {len(self.prompt)} characters.",
                    )
        return self


class PerturbationRequest(AttributionRequest):
    """An attribution by perturbation: scores of the prompt with some of its units replaced by the baseline."""

    baseline: Baseline = Field(
        default="mask",
        description=(
            "Replacement for an absent unit: mask, the mask token for each of its tokens (where the model has "
            'none, its unknown, pad or end token); pad, the pad token; remove, nothing; or {"text": "…"}, '
            "that text once per unit."
        ),
        examples=["mask"],
    )
    precision: Literal["full", "fast"] = Field(
        default="full",
        description=(
            "Precision of matrix products. full: the model's own type. fast: bfloat16 for a float32 model (or "
            "TF32 on a GPU) where that is faster; the result reports how much it changed the scores, or in a "
            "note why nothing was faster and the products were taken in the model's own type."
        ),
    )
