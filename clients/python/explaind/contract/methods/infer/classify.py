"""infer/classify: which class a text belongs to, by a classifier or, zero-shot, by a closed set of labels."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import ResponseModel, wrong
from explaind.contract.blocks.attribution_result import ScoredToken
from explaind.contract.blocks.subject import ContinuationText, PromptRequest
from explaind.contract.method import Method


class ClassifyParams(PromptRequest):
    """Classify a text."""

    labels: list[ContinuationText] | None = Field(
        default=None,
        min_length=2,
        max_length=256,
        description="The answers to choose from, as they would follow the prompt; a classifier has classes of its own.",
        examples=[[" positive", " negative"]],
    )

    @model_validator(mode="after")
    def _labels_differ(self) -> "ClassifyParams":
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise wrong("/labels", "The labels must differ from each other.")
        return self


class ClassScore(ResponseModel):
    """A class, or a label, and what the model gives it."""

    label: str = Field(description="Its name.", examples=[" positive"])
    index: int = Field(description="Its place among the classes or labels.", examples=[0])
    probability: float | None = Field(
        default=None,
        description="Among all of them, or for classes that do not exclude each other of this one; null where the "
        "model gives a number rather than a probability.",
        examples=[0.97],
    )
    logit: float = Field(
        description="What the probability is made of: the class's raw logit, or the log-probability of the whole label "
        "after the prompt, in nats.",
        examples=[-0.2],
    )
    tokens: list[ScoredToken] | None = Field(default=None, description="The tokens of a label.")


class Classification(ResponseModel):
    """Every class with its probability."""

    kind: Literal["classification"] = "classification"
    prompt: str = Field(description="The text that was classified; for messages, as the chat template wrote it.")
    predicted: int = Field(description="Index of the likeliest class.", examples=[0])
    rule: Literal["softmax", "sigmoid", "none"] = Field(
        description="How logits become probabilities: softmax where one class is right, sigmoid where several may be, "
        "none where the model gives numbers (a regression)."
    )
    classes: list[ClassScore] = Field(description="In order of their index.")

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
    cost="one forward; for labels one per distinct beginning of a label",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "labels": [" positive", " negative"],
    },
)
