"""Prompts of the demo tasks with their answer, a foil and the character spans of the planted causes.

Pure Python: nothing here needs torch. The train/held-out split is a hash of the key that must not occur in both parts
(see `held_out`), so it needs no stored list and is the same on every machine.
"""

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter
from typing import Literal

from explaind_worker.models.demo import vocabulary as words

Split = Literal["train", "heldout"]
Span = tuple[int, int]

WORD = re.compile(r"\w+|[^\w\s]+")
"""A unit of an explanation: a run of word characters or a run of punctuation."""

HELD_OUT_PERCENT = {
    "addition": 20,
    "subtraction": 20,
    "multiplication": 20,
    "two_digit_addition": 10,
    "sentiment": 10,
    "indirect_object": 10,
    "deduction": 10,
    "rule_practice": 10,
}

AUXILIARY_TASKS = ("rule_practice",)
"""Only there to teach another task's steps: several questions about the same rules, answered in turn."""

TASKS: tuple[str, ...] = tuple(task for task in HELD_OUT_PERCENT if task not in AUXILIARY_TASKS)


@dataclass(frozen=True)
class Case:
    """A prompt with a known cause.

    `answer` and `foil` begin with a space and continue `prompt` as they are. `causes` are half-open
    character spans in `prompt`, in order: the words the answer depends on.
    """

    task: str
    prompt: str
    answer: str
    foil: str
    causes: tuple[Span, ...]


def held_out(task: str, key: str) -> bool:
    """Whether `key`, the feature that training and held-out cases must not share, is in the held-out part."""
    digest = hashlib.sha256(f"{task}|{key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT[task]


def generate_cases(task: str, count: int, seed: int, split: Split) -> list[Case]:
    """`count` cases of `task` from one side of the split, the same for the same arguments everywhere.

    The prompts of one call are distinct as long as the task has that many: there are few single-digit facts, and a call
    for more repeats them in another order.
    """
    if task not in HELD_OUT_PERCENT:
        raise ValueError(f"unknown task {task!r}, expected one of {', '.join(HELD_OUT_PERCENT)}")
    rng = random.Random(f"{task}/{split}/{seed}")  # noqa: S311 - reproducible, not secret
    if task in _FACTS:
        return _facts(task, count, rng, split)
    draw = _DRAWS[task]
    cases: list[Case] = []
    seen: set[str] = set()
    while len(cases) < count:
        key, case = draw(rng)
        if held_out(task, key) == (split == "heldout") and case.prompt not in seen:
            seen.add(case.prompt)
            cases.append(case)
    return cases


@cache
def _parsed(pattern: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((literal, field) for literal, field, _, _ in Formatter().parse(pattern))


def _render(pattern: str, values: Mapping[str, str], causes: frozenset[str], start: int = 0) -> tuple[str, list[Span]]:
    """`pattern` filled with `values`, and the spans of the fields named in `causes`, shifted by `start`."""
    text = ""
    spans: list[Span] = []
    for literal, field in _parsed(pattern):
        text += literal
        if field is not None:
            if field in causes:
                spans.append((start + len(text), start + len(text) + len(values[field])))
            text += values[field]
    return text, spans


_OPERATORS = {
    "addition": words.ADD,
    "subtraction": words.SUBTRACT,
    "multiplication": words.MULTIPLY,
    "two_digit_addition": words.ADD,
}
_OPERATION_FIELDS = frozenset({"a", "b", "symbol", "word", "noun"})


def _arithmetic(rng: random.Random, task: str, a: int, b: int, pattern: str) -> Case:
    operator = _OPERATORS[task]
    result = {words.ADD: a + b, words.SUBTRACT: a - b, words.MULTIPLY: a * b}[operator]
    prompt, spans = _render(pattern, {"a": str(a), "b": str(b), **operator._asdict()}, _OPERATION_FIELDS)
    steps = (1, -1, 2, -2) if task != "two_digit_addition" else (1, -1, 10, -10)
    # A near miss of the same length: the foil has the answer's form, so only the operands tell them apart.
    near = [result + step for step in steps if result + step >= 0]
    same_length = [value for value in near if len(str(value)) == len(str(result))]
    return Case(task, prompt, f" {result}", f" {rng.choice(same_length)}", tuple(spans))


_FACTS = frozenset({"addition", "subtraction", "multiplication"})
"""Tasks of single digits, drawn from a list of all of them."""


@cache
def _fact_pool(task: str, split: Split) -> tuple[tuple[int, int, str], ...]:
    """(a, b, pattern) of every single-digit fact and phrasing on one side of the split."""
    return tuple(
        (a, b, pattern)
        for a in range(10)
        for b in range(10)
        if task != "subtraction" or a >= b
        for pattern in words.ARITHMETIC_PATTERNS
        if held_out(task, f"{a}|{b}|{pattern}") == (split == "heldout")
    )


def _facts(task: str, count: int, rng: random.Random, split: Split) -> list[Case]:
    pool = _fact_pool(task, split)
    cases: list[Case] = []
    while len(cases) < count:
        chosen = rng.sample(pool, min(count - len(cases), len(pool)))
        cases.extend(_arithmetic(rng, task, a, b, pattern) for a, b, pattern in chosen)
    return cases


def _two_digit_addition(rng: random.Random) -> tuple[str, Case]:
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    # Held out as an unordered pair: training on 38 + 47 would reveal 47 + 38.
    key = f"{min(a, b)}|{max(a, b)}"
    pattern = rng.choice(words.ARITHMETIC_PATTERNS)
    return key, _arithmetic(rng, "two_digit_addition", a, b, pattern)


def _sentiment(rng: random.Random) -> tuple[str, Case]:
    positive = rng.random() < 0.5
    subject, other = rng.sample(words.SUBJECTS, 2)
    values = {"subject": subject, "other": other}
    values["neutral"] = rng.choice(words.NEUTRAL_ADJECTIVES)
    values["day"] = rng.choice(words.DAYS)
    values["reviewer"] = rng.choice(words.REVIEWERS)
    values["reviewer_inside"] = values["reviewer"] if values["reviewer"] == "I" else values["reviewer"].lower()
    if rng.random() < 0.6:
        pattern = rng.choice(words.ADJECTIVE_OPINIONS)
        values["opinion"] = rng.choice(words.POSITIVE_ADJECTIVES if positive else words.NEGATIVE_ADJECTIVES)
    else:
        pattern = rng.choice(words.VERB_OPINIONS)
        values["opinion"] = rng.choice(words.POSITIVE_VERBS if positive else words.NEGATIVE_VERBS)
    frame = rng.choice(words.SENTIMENT_FRAMES)
    before, after = frame.split("{text}")
    text, spans = _render(pattern, values, frozenset({"opinion"}), start=len(before))
    answer, foil = words.SENTIMENTS if positive else words.SENTIMENTS[::-1]
    return text, Case("sentiment", before + text + after, f" {answer}", f" {foil}", tuple(spans))


_PEOPLE_FIELDS = frozenset({"first", "second", "subject"})


def _indirect_object(rng: random.Random) -> tuple[str, Case]:
    first, second = rng.sample(words.NAMES, 2)
    subject, recipient = (first, second) if rng.random() < 0.5 else (second, first)
    values = {"first": first, "second": second, "subject": subject}
    values["place"] = rng.choice(words.PLACES)
    values["thing"] = rng.choice(words.OBJECTS)
    prompt, spans = _render(rng.choice(words.IOI_PATTERNS), values, _PEOPLE_FIELDS)
    key = "|".join(sorted((first, second)))
    return key, Case("indirect_object", prompt, f" {recipient}", f" {subject}", tuple(spans))


_RULE = "{quantifier} {category} is {property}. "
_FACT = "{entity} is a {category}. "


def _rules(rng: random.Random, sizes: tuple[int, ...]) -> list[dict[str, str]]:
    """The fields of two or more rules about different categories with different properties."""
    size = rng.choice(sizes)
    quantifier = rng.choice(words.QUANTIFIERS)
    pairs = zip(rng.sample(words.CATEGORIES, size), rng.sample(words.PROPERTIES, size), strict=True)
    return [{"quantifier": quantifier, "category": category, "property": value} for category, value in pairs]


def _deduction(rng: random.Random) -> tuple[str, Case]:
    rules = _rules(rng, (2, 3))
    queried = rng.choice(rules)
    fact = {"entity": rng.choice(words.NAMES), "category": queried["category"]}
    parts = [(_RULE, rule, rule is queried) for rule in rules]
    parts.insert(rng.choice((0, len(rules), len(rules))), (_FACT, fact, True))
    prompt = ""
    spans: list[Span] = []
    for pattern, values, is_cause in parts:
        causes = frozenset({"category", "property"}) if is_cause else frozenset[str]()
        text, found = _render(pattern, values, causes, start=len(prompt))
        prompt += text
        spans.extend(found)
    prompt += rng.choice(words.CONCLUSIONS).format_map(fact)
    foil = rng.choice([rule["property"] for rule in rules if rule is not queried])
    key = f"{fact['entity']}|{queried['category']}|{queried['property']}"
    return key, Case("deduction", prompt, f" {queried['property']}", f" {foil}", tuple(spans))


_QUESTIONS = 8


def _rule_practice(rng: random.Random) -> tuple[str, Case]:
    """Plain pairs of category and property, then questions about them; the answer extends to the last one.

    Deductions alone stay at chance for long: one word in a long prompt is scored, and look-up needs two layers that are
    useless without each other. Here every second word is scored and the pairs are adjacent, so look-up is learnt in
    minutes and transfers. Questions are drawn independently, so none can be solved by elimination.
    """
    rules = _rules(rng, (3, 4, 5))
    pairs = "".join(f" {rule['category']} {rule['property']}" for rule in rules)
    first, *later = rng.choices(rules, k=_QUESTIONS)
    prompt = f"Pairs:{pairs} {first['category']}"
    answer = f" {first['property']}" + "".join(f" {rule['category']} {rule['property']}" for rule in later)
    return prompt, Case("rule_practice", prompt, answer, "", ())


_DRAWS: dict[str, Callable[[random.Random], tuple[str, Case]]] = {
    "two_digit_addition": _two_digit_addition,
    "sentiment": _sentiment,
    "indirect_object": _indirect_object,
    "deduction": _deduction,
    "rule_practice": _rule_practice,
}
