"""Extracts the answer from generated text and compares it with the reference. The prompt is ignored."""

import re
from dataclasses import dataclass
from fractions import Fraction

from explaind.contract.blocks.grading import AnswerForm
from explaind.contract.blocks.questions import AskedQuestion
from explaind_worker.evaluation.number_parsing import Number, number_of, numbers_of

# A line that begins the next question: the text after it answers something else.
NEXT_QUESTION = re.compile(r"^\s*(?:question|problem|q)\s*\d*\s*[:.]", re.IGNORECASE | re.MULTILINE)
MARK = re.compile(r"####|\\boxed\{|\banswer(?:\s+is)?\s*[:=]?(?=[\s$\d-])", re.IGNORECASE)
OPERATOR = re.compile(r"\s*[-+*/×÷=\u2212x]\s*[($\d]")  # after a number: the number begins a calculation
WORD = re.compile(r"\w+(?:['\u2019]\w+)*")

YES = frozenset({"yes", "true", "correct", "right", "yeah"})
NO = frozenset({"no", "false", "incorrect", "wrong", "nope"})
NEGATIONS = frozenset({"not", "isn't", "isn\u2019t"})


@dataclass(frozen=True)
class ExtractedAnswer:
    """The extracted answer: its text, and its value if it is a number.

    `end` is its end in the generated text.
    """

    text: str
    number: Number | None = None
    end: int = 0


def settled_form(question: AskedQuestion, form: AnswerForm) -> AnswerForm:
    """The form that `auto` stands for: the reference answer's. For numbers it stays `auto`, which goes by position."""
    if form != "auto" or number_of(question.answer) is not None:
        return form
    return "choice" if _yes_or_no(question.answer) is not None else "first_words"


def answer_in(said: str, question: AskedQuestion, form: AnswerForm) -> ExtractedAnswer | None:
    """The answer in the generated text; None if there is none of that form."""
    upcoming = NEXT_QUESTION.search(said)
    text = said[: upcoming.start()] if upcoming else said
    form = settled_form(question, form)
    if form in {"auto", "first_number", "last_number"}:
        found = _number_in(text, form, worked=bool(question.steps))
        return None if found is None else ExtractedAnswer(found.text, found, found.end)
    if form == "choice":
        return _choice_in(text, question)
    if form == "first_line":
        line = text.lstrip().partition("\n")[0].strip()
        return ExtractedAnswer(line, number_of(line), len(text)) if line else None
    words = list(WORD.finditer(text))[: max(1, len(WORD.findall(question.answer)))]
    return ExtractedAnswer(text[words[0].start() : words[-1].end()], end=words[-1].end()) if words else None


def is_right(found: ExtractedAnswer, question: AskedQuestion, tolerance: float) -> bool:
    """Whether the answer is right: numbers within the tolerance, anything else as words, ignoring case."""
    right = number_of(question.answer)
    if right is not None and found.number is not None:
        return abs(found.number.value - right.value) <= Fraction(tolerance)
    meant = _yes_or_no(question.answer)
    if meant is not None and (said := _yes_or_no(found.text)) is not None:
        return said == meant
    return plain(found.text) == plain(question.answer)


def plain(text: str) -> str:
    """The words in lower case, without surrounding punctuation."""
    return " ".join(WORD.findall(text)).casefold()


def _number_in(text: str, form: AnswerForm, *, worked: bool) -> Number | None:
    numbers = numbers_of(text)
    if not numbers:
        return None
    if form != "auto":
        return numbers[0 if form == "first_number" else -1]
    for mark in MARK.finditer(text):
        line_end = text.find("\n", mark.end())
        after = [n for n in numbers if n.start >= mark.end() and (line_end < 0 or n.start < line_end)]
        if after:
            return _last_of_calculation(text, after)
    return numbers[-1] if worked else _last_of_calculation(text, numbers)


def _last_of_calculation(text: str, numbers: list[Number]) -> Number:
    """The first number; of a calculation ("3 + 4 = 7") its result."""
    first = numbers[0]
    if OPERATOR.match(text, first.end) is None:
        return first
    line = text[first.end :].partition("\n")[0]
    equals = line.rfind("=")
    after = [number for number in numbers if first.end + equals < number.start < first.end + len(line)]
    return after[0] if equals >= 0 and after else first


def _choice_in(text: str, question: AskedQuestion) -> ExtractedAnswer | None:
    """The first of the options in the text: yes or no in any wording, or answer and foil."""
    offered = [option.strip() for option in (question.answer, question.foil) if option]
    if _yes_or_no(question.answer) is not None:
        words = list(WORD.finditer(text))
        for before, word in zip([None, *words], words, strict=False):
            if _yes_or_no(word.group()) is not None:
                negated = before is not None and before.group().casefold() in NEGATIONS
                start = before.start() if before is not None and negated else word.start()
                return ExtractedAnswer(text[start : word.end()], end=word.end())
        return None
    places = []
    for option in offered:
        # A single letter is case-sensitive: "a" is a word.
        flags = re.NOFLAG if len(option) == 1 else re.IGNORECASE
        match = re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text, flags)
        if match is not None:
            places.append((match.start(), -match.end(), match))
    if not places:
        return None
    match = min(places, key=lambda place: place[:2])[2]
    return ExtractedAnswer(match.group(), number_of(match.group()), match.end())


def _yes_or_no(text: str) -> bool | None:
    """Whether the text says yes; None if neither yes nor no. "not true" means no."""
    words = plain(text).split()
    negated = len(words) == 2 and words[0] in NEGATIONS
    if len(words) != 1 + negated or words[-1] not in YES | NO:
        return None
    return (words[-1] in YES) != negated
