"""Grades a generated answer: right, or wrong with one of the categories of `explaind.contract.blocks.grading`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Literal

from explaind.contract.blocks.grading import CATEGORY_OF, MEANING, AnswerForm, Category, FailureRule
from explaind.contract.blocks.questions import AskedQuestion
from explaind_worker.evaluation.answer_extraction import ExtractedAnswer, answer_in, is_right, plain, settled_form
from explaind_worker.evaluation.number_parsing import Number, number_of, numbers_of

MOST_NUMBERS = 4  # most numbers in a question for which all sequences of operations are tried
OPERATIONS: Mapping[str, Callable[[Fraction, Fraction], Fraction | None]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else None,
}


@dataclass(frozen=True)
class Grade:
    """Grade of an answer: the extracted answer and, if it is wrong, the rule that applies, with an explanation."""

    right: bool
    extracted: str | None
    rule: FailureRule | None = None
    explanation: str | None = None

    @property
    def category(self) -> Category | None:
        """The category of the mistake; None if there is none."""
        return None if self.rule is None else CATEGORY_OF[self.rule]


def judged(
    question: AskedQuestion,
    said: str,
    *,
    finish: Literal["end", "stop", "length"],
    form: AnswerForm = "auto",
    tolerance: float = 0.0,
) -> Grade:
    """The grade of the generated text `said`, whose generation ended by `finish`."""
    found = answer_in(said, question, form)
    if found is None:
        why = "max_new_tokens ended it before" if finish == "length" else "the model stopped without one"
        return Grade(False, None, "no_answer", f"{MEANING['no_answer']} Here {why}.")
    if is_right(found, question, tolerance):
        return Grade(True, found.text)
    cut = finish == "length" and not said[found.end :].strip()
    rule, explanation = next(_mistakes(found, question, settled_form(question, form), tolerance, cut=cut))
    return Grade(False, found.text, rule, explanation)


def _mistakes(
    found: ExtractedAnswer, question: AskedQuestion, form: AnswerForm, tolerance: float, *, cut: bool
) -> Iterator[tuple[FailureRule, str]]:
    """The rules that apply to a wrong answer, the first of which counts, each with its explanation."""
    right = number_of(question.answer)
    if right is None or found.number is None:
        yield _wrong_words(found, question, form)
        return
    said, given = found.number, [number.value for number in numbers_of(question.question)]
    if cut and right.text.replace(",", "").startswith(said.text.replace(",", "")):
        yield "cut_off", f"The text ends in {said.text}, with which {right.text} begins."
    if any(step.value == said.value for text in question.steps if (step := number_of(text)) is not None):
        yield "intermediate_step", f"{said.text} is what a step on the way comes to; the last one gives {right.text}."
    if (calculation := other_calculation(said.value, given, right.value, tolerance)) is not None:
        yield "other_operation", f"{said.text} = {calculation}; the right answer is {right.text}."
    if (unit := off_by_a_unit(said.value, right)) is not None:
        yield "one_unit", f"{said.text} is {unit} away from {right.text}."
    if right.value and said.value / right.value in {Fraction(10), Fraction(1, 10)}:
        yield "one_place", f"{said.text} is {right.text} with its point one place off."
    if said.value in given:
        yield "repeats_the_question", f"{said.text} only repeats a number of the question."
    yield "unrelated", f"{said.text} does not come from the question's numbers by any rule; right is {right.text}."


def _wrong_words(found: ExtractedAnswer, question: AskedQuestion, form: AnswerForm) -> tuple[FailureRule, str]:
    words, asked = plain(found.text), plain(question.question)
    offered = question.foil is not None and words == plain(question.foil)
    if form == "choice" or offered or f" {words} " in f" {asked} ":
        return (
            "other_answer",
            f"{found.text!r} is another answer that the question offers; right is {question.answer!r}.",
        )
    return "unrelated", f"{found.text!r} is not in the question; right is {question.answer!r}."


def other_calculation(said: Fraction, given: list[Fraction], right: Fraction, tolerance: float = 0.0) -> str | None:
    """Operations on the numbers, in order and from left to right, that give the answer; None if there are none.

    For two numbers any operation, also with the operands swapped. For three or four, sequences that differ in one
    operation from one with the right result: more changes would explain almost any number. For more, their sum and
    their product.
    """
    if abs(said - right) <= Fraction(tolerance):
        return None
    count = len(given) - 1
    orders = [given, given[::-1]] if count == 1 else [given]
    sequences = list(product(OPERATIONS, repeat=count)) if 0 < count < MOST_NUMBERS else []
    if count > 1:
        meant = [signs for signs in sequences if _result(given, signs) == right]
        sequences = [signs for signs in sequences if any(_changes(signs, of) == 1 for of in meant)]
        sequences += [("+",) * count, ("*",) * count] if not meant else []
    for numbers, signs in product(orders, sequences):
        if _result(numbers, signs) == said:
            return _written(numbers, signs)
    return None


def _changes(signs: tuple[str, ...], others: tuple[str, ...]) -> int:
    return sum(sign != other for sign, other in zip(signs, others, strict=True))


def _result(numbers: list[Fraction], signs: tuple[str, ...]) -> Fraction | None:
    """Result of the operations, from left to right; None on division by zero."""
    value: Fraction | None = numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        value = None if value is None else OPERATIONS[sign](value, number)
    return value


def _written(numbers: list[Fraction], signs: tuple[str, ...]) -> str:
    """The calculation as text, with brackets where left-to-right order differs from the usual precedence."""
    text = _number_text(numbers[0])
    for index, (sign, number) in enumerate(zip(signs, numbers[1:], strict=True)):
        if index and signs[index - 1] in "+-" and sign in "*/":
            text = f"({text})"
        text += f" {sign} {_number_text(number)}"
    return text


def _number_text(value: Fraction) -> str:
    return str(value) if value.denominator == 1 or float(value) != value else f"{float(value):g}"


def off_by_a_unit(said: Fraction, right: Number) -> str | None:
    """Name of the decimal place in which the answer is off by one; None if there is no such place.

    Only places written in the right number count: for 85 the ones and the tens.
    """
    places = len(str(abs(int(right.value))))
    for place in range(-right.decimals, places):
        if abs(said - right.value) == Fraction(10) ** place:
            named = {0: "one", 1: "one in the tens", 2: "one in the hundreds"}
            return named.get(place, f"one unit of {float(Fraction(10) ** place):g}")
    return None
