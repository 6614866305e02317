"""infer/classify: the class of a text, by a classifier or, zero-shot, from a closed set of labels."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import MethodResult, ResponseModel, wrong
from explaind.contract.blocks.attribution_result import ScoredToken
from explaind.contract.blocks.subject import ContinuationText, PromptRequest
from explaind.contract.method import Method


class ClassifyParams(PromptRequest):
    """Classify a text."""

    labels: list[ContinuationText] | None = Field(
        default=None,
        min_length=2,
        max_length=256,
        description="Answers to choose from, as they would follow the prompt; a classifier has classes of its own.",
        examples=[[" positive", " negative"]],
    )

    @model_validator(mode="after")
    def _labels_differ(self) -> "ClassifyParams":
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise wrong("/labels", "The labels must differ from each other.")
        return self


class ClassScore(ResponseModel):
    """A class, or a label, with its probability."""

    label: str = Field(description="Name of the class or label.", examples=[" positive"])
    index: int = Field(description="Index among the classes or labels.", examples=[0])
    probability: float | None = Field(
        default=None,
        description=(
            "Probability among all of them, or, for classes that do not exclude each other, of this one "
            "alone; null where the model outputs a number rather than a probability."
        ),
        examples=[0.97],
    )
    logit: float = Field(
        description=(
            "Basis of the probability: the class's raw logit, or the log-probability of the whole label after "
            "the prompt, in nats."
        ),
        examples=[-0.2],
    )
    tokens: list[ScoredToken] | None = Field(default=None, description="Tokens of a label.")


class Classification(MethodResult):
    """Every class with its probability."""

    kind: Literal["classification"] = "classification"
    prompt: str = Field(description="Classified text; for messages, as written by the chat template.")
    predicted: int = Field(description="Index of the likeliest class.", examples=[0])
    rule: Literal["softmax", "sigmoid", "none"] = Field(
        description=(
            "Conversion of logits to probabilities: softmax where one class is right, sigmoid where several "
            "may be, none where the model outputs numbers (a regression)."
        )
    )
    classes: list[ClassScore] = Field(description="Classes or labels, in order of index.")

    @property
    def best(self) -> ClassScore:
        """The likeliest class."""
        return self.classes[self.predicted]


METHOD = Method(
    verb="infer",
    name="classify",
    title="Classify",
    summary="The classes of a classifier, or labels given to a language model, each with its probability.",
    params=ClassifyParams,
    result=Classification,
    version="2",
    cost="one forward; for labels one per distinct beginning of a label",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "labels": [" positive", " negative"],
    },
)
