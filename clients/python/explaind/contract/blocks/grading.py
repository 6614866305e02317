"""Answer extraction and grading: forms of answers, and categories of wrong ones."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

AnswerForm = Literal["auto", "first_number", "last_number", "choice", "first_words", "first_line"]
Category = Literal["incomplete", "wrong_operation", "off_by_one", "hallucination"]
FailureRule = Literal[
    "no_answer",
    "cut_off",
    "intermediate_step",
    "other_operation",
    "other_answer",
    "one_unit",
    "one_place",
    "repeats_the_question",
    "unrelated",
]

CATEGORY_OF: Mapping[FailureRule, Category] = MappingProxyType(
    {
        "no_answer": "incomplete",
        "cut_off": "incomplete",
        "intermediate_step": "incomplete",
        "other_operation": "wrong_operation",
        "other_answer": "wrong_operation",
        "one_unit": "off_by_one",
        "one_place": "off_by_one",
        "repeats_the_question": "hallucination",
        "unrelated": "hallucination",
    }
)
"""The category of every rule. A wrong answer is of the first rule, in this order, that holds of it."""

CATEGORIES: tuple[Category, ...] = tuple(dict.fromkeys(CATEGORY_OF.values()))

MEANING: Mapping[FailureRule, str] = MappingProxyType(
    {
        "no_answer": "What was said holds no answer of the form that is asked for.",
        "cut_off": "max_new_tokens ended the text within the number: the right one begins with what there is.",
        "intermediate_step": "The value of a step on the way, not of the last one.",
        "other_operation": "What one other operation makes of the question's numbers, taken in their order.",
        "other_answer": "Another answer that the question offers: its foil, the opposite, or other words of it.",
        "one_unit": "One too many or too few in one decimal place of the right number: 84 or 75 for 85.",
        "one_place": "The right digits one decimal place too far: 480 or 4.8 for 48.",
        "repeats_the_question": "One of the question's own numbers.",
        "unrelated": "Neither in the question nor made of its numbers by a rule above.",
    }
)
"""What each rule says."""
