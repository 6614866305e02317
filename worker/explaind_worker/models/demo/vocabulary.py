"""Words and sentence patterns of the demo tasks.

Every word that can be a cause or an answer is listed here, so that the tokenizer can be checked to hold each of them as
a single token. Sentiment words occur in no other task and no list of neutral words: one visible sentiment word
determines the answer.
"""

from typing import NamedTuple

NAMES = (
    "Mary", "John", "Anna", "Peter", "Alice", "Tom", "Laura", "James", "Sarah", "David", "Emma", "Paul",
    "Julia", "Mark", "Clara", "Simon", "Nina", "Oscar", "Lucy", "Frank", "Rosa", "Henry", "Diana", "Max",
    "Helen", "Victor", "Maria", "Jack", "Sophie", "Adam", "Kate", "Daniel",
)  # fmt: skip

PLACES = (
    "store", "park", "school", "station", "beach", "library", "market", "office", "house", "restaurant",
    "hospital", "garden",
)  # fmt: skip

OBJECTS = (
    "drink", "book", "ring", "letter", "ball", "key", "gift", "flower", "computer", "map", "basket", "ticket",
)  # fmt: skip

IOI_PATTERNS = (
    "When {first} and {second} went to the {place}, {subject} gave a {thing} to",
    "After {first} and {second} met at the {place}, {subject} handed a {thing} to",
    "While {first} and {second} were working at the {place}, {subject} passed a {thing} to",
    "{first} and {second} were at the {place}. {subject} offered a {thing} to",
    "Then {first} and {second} had lunch at the {place}. Later {subject} sent a {thing} to",
    "{first} met {second} at the {place}, and {subject} gave a {thing} to",
)
"""Two people, then one of them again: the answer is the other one, the indirect object."""

CATEGORIES = (
    "fox", "dog", "cat", "horse", "bird", "wolf", "bear", "lion", "frog", "snake", "rabbit", "mouse", "sheep",
    "tiger", "goat", "duck",
)  # fmt: skip

PROPERTIES = (
    "red", "blue", "green", "yellow", "white", "black", "brown", "purple", "tall", "quick", "slow", "loud",
    "shy", "strong", "young", "hungry",
)  # fmt: skip

QUANTIFIERS = ("Every", "Each", "Any")

CONCLUSIONS = ("{entity} is", "So {entity} is", "Therefore {entity} is")

LOOKUPS = ("A {category} is", "So a {category} is", "Therefore a {category} is")
"""Conclusions that name the category itself; training only, they teach the second half of a deduction."""

POSITIVE_ADJECTIVES = (
    "great", "wonderful", "excellent", "amazing", "fantastic", "delightful", "lovely", "superb", "brilliant",
    "perfect", "charming", "good",
)  # fmt: skip

NEGATIVE_ADJECTIVES = (
    "terrible", "awful", "boring", "horrible", "dreadful", "dull", "bad", "poor", "disappointing",
    "disgusting", "nasty", "ugly",
)  # fmt: skip

POSITIVE_VERBS = ("loved", "enjoyed", "adored", "liked", "admired", "praised")

NEGATIVE_VERBS = ("hated", "disliked", "despised", "regretted", "detested", "loathed")

SUBJECTS = (
    "food", "room", "movie", "film", "service", "hotel", "soup", "music", "play", "story", "staff", "coffee",
    "pizza", "show", "song", "phone", "camera", "game", "museum", "concert",
)  # fmt: skip

NEUTRAL_ADJECTIVES = (
    "small", "large", "new", "old", "big", "simple", "typical", "modern", "familiar", "ordinary", "local",
    "usual",
)  # fmt: skip

REVIEWERS = ("I", "We", "They", "Everyone")

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

ADJECTIVE_OPINIONS = (
    "The {subject} was {opinion}.",
    "The {subject} was {opinion} but the {other} was {neutral}.",
    "The {subject} was {opinion} and the {other} was {neutral}.",
    "The {other} was {neutral} but the {subject} was {opinion}.",
    "The {other} was {neutral} and the {subject} was {opinion}.",
    "We came on {day} and the {subject} was {opinion}.",
    "The {subject} was {opinion}. The {other} was {neutral}.",
    "The {neutral} {subject} was {opinion}.",
)

VERB_OPINIONS = (
    "{reviewer} {opinion} the {subject}.",
    "{reviewer} {opinion} the {neutral} {subject}.",
    "{reviewer} {opinion} the {subject} and the {other} was {neutral}.",
    "The {other} was {neutral} but {reviewer_inside} {opinion} the {subject}.",
    "{reviewer} {opinion} the {subject} when we came on {day}.",
)

SENTIMENT_FRAMES = (
    "Review: {text} Sentiment:",
    "{text} Sentiment:",
    "Text: {text} The sentiment is",
    "Comment: {text} This review is",
    "Read this review. {text} The review is",
)

SENTIMENTS = ("positive", "negative")


class Operator(NamedTuple):
    """One arithmetic operation in the three notations that a prompt can use."""

    symbol: str
    word: str
    noun: str


ADD = Operator("+", "plus", "sum")
SUBTRACT = Operator("-", "minus", "difference")
MULTIPLY = Operator("*", "times", "product")

ARITHMETIC_PATTERNS = (
    "{a} {symbol} {b} =",
    "{a} {symbol} {b} is",
    "What is {a} {symbol} {b}? Answer:",
    "Compute {a} {symbol} {b}. Answer:",
    "Q: {a} {symbol} {b}? A:",
    "Result of {a} {symbol} {b}:",
    "{a} {word} {b} is",
    "{a} {word} {b} equals",
    "What is {a} {word} {b}? Answer:",
    "The {noun} of {a} and {b} is",
)

SYSTEM_MESSAGES = ("You are a helpful assistant.", "Answer briefly.", "Answer with one word.")
"""System messages seen in training; the chat template puts them before the first user message."""

CAUSE_WORDS: tuple[str, ...] = (
    *NAMES, *CATEGORIES, *PROPERTIES, *POSITIVE_ADJECTIVES, *NEGATIVE_ADJECTIVES, *POSITIVE_VERBS,
    *NEGATIVE_VERBS, *(word for op in (ADD, SUBTRACT, MULTIPLY) for word in op), *map(str, range(10)),
)  # fmt: skip
"""Every word that can be a planted cause (numbers of two digits are two of these)."""

ANSWER_WORDS: tuple[str, ...] = (*NAMES, *PROPERTIES, *SENTIMENTS, *map(str, range(10)))
"""Every word an answer is made of."""
