"""HTML view of generation, scoring, tokenization and classification: text by tokens, and tables."""

import math
from typing import Any

from explaind.contract.blocks.units import Unit
from explaind.contract.job import Job
from explaind.contract.methods.infer.classify import Classification, ClassScore
from explaind.contract.methods.infer.generate import Generation
from explaind.contract.methods.infer.score import Scoring
from explaind.contract.methods.infer.tokenize import Token, Tokenization
from explaind.views.drawing.cards import notebook_frame, section, tiles
from explaind.views.drawing.html import Markup, join, tag
from explaind.views.drawing.tables import table, token_strip, tokens_table
from explaind.views.drawing.text import number, one_line, percent, plural, shown
from explaind.views.registry import View

RULES = {
    "softmax": "softmax: one class is right, the probabilities add up to 1",
    "sigmoid": "sigmoid: each class has a probability of its own, several may be right",
    "none": "the model outputs numbers, no probabilities",
}


def _generation_sections(result: Generation) -> list[Markup]:
    ended = {
        "end": "its end token",
        "stop": "a stop text",
        "length": "the limit on tokens",
        "cancelled": "the cancelling of the job",
    }
    numbers = {
        "Tokens": (str(len(result.tokens)), f"ended by {ended[result.finish_reason]}"),
        "Log-probability": (number(result.logprob), "nats, all tokens"),
        "Per token": (_geometric_mean(result.logprob, len(result.tokens)), "geometric mean"),
    }
    return [
        section("The continuation", token_strip(result.prompt, result.tokens, None), _surprise_note()),
        tiles(numbers),
        section("Every token", tokens_table(result.tokens), class_="flow"),
    ]


def _scoring_sections(result: Scoring) -> list[Markup]:
    numbers = {
        "Log-probability": (number(result.logprob), "nats, all tokens"),
        "Probability": (percent(math.exp(min(0.0, result.logprob))), plural(len(result.tokens), "token")),
        "Perplexity": (number(result.perplexity), "of the target"),
    }
    strip = token_strip(result.prompt, result.tokens, result.prompt_tokens)
    sections = [
        section("The text", strip, _surprise_note()),
        tiles(numbers),
        section("Every token of the target", tokens_table(result.tokens), class_="flow"),
    ]
    if result.prompt_tokens:
        sections.append(section("Every token of the prompt", tokens_table(result.prompt_tokens), class_="flow"))
    return sections


def _tokenization_sections(result: Tokenization) -> list[Markup]:
    return [
        section("The prompt", tag("div", shown(result.prompt), dir="auto", class_="text")),
        tiles({"Tokens": (str(result.count), None), "Units": (str(len(result.units)), None)}),
        section("Every token", _tokenization_table(result), class_="flow"),
    ]


def _tokenization_table(result: Tokenization) -> Markup:
    spans = [(token.start, token.end) for token in result.tokens]
    rows = [
        tag(
            "tr",
            tag("td", str(index + 1), class_="num quiet"),
            tag("td", tag("code", one_line(token.text)), tag("small", token_kind(token))),
            tag("td", str(token.id), class_="num quiet"),
            tag("td", "none" if start is None or end is None else f"{start}–{end}", class_="num quiet"),
            tag("td", "" if token.unit is None else unit_words(result.units[token.unit])),
        )
        for index, (token, (start, end)) in enumerate(zip(result.tokens, spans, strict=True))
    ]
    return table(["#", "Token", "Id", "Characters", "Unit"], rows)


def token_kind(token: Token) -> str:
    """Where a token comes from, where that is not the text."""
    kinds = [" special" if token.special else "", " of the chat template" if token.template else ""]
    return "".join(kinds)


def unit_words(unit: Unit) -> str:
    """A unit by its name and text, with its role in a chat."""
    name = f"{one_line(unit.name, 40)}: " if unit.name else ""
    notes = [note for note in (unit.role, "special" if unit.special else None) if note]
    return name + one_line(unit.text, 40) + (f" ({', '.join(notes)})" if notes else "")


def _classification_sections(result: Classification) -> list[Markup]:
    return [
        section("The text", tag("div", shown(result.prompt), dir="auto", class_="text")),
        section("Every class", _classes_table(result), note=RULES[result.rule], class_="flow"),
    ]


def _classes_table(result: Classification) -> Markup:
    tokens = any(scored.tokens for scored in result.classes)
    rows = [
        tag(
            "tr",
            tag("td", str(scored.index), class_="num quiet"),
            tag("td", tag("code", one_line(scored.label), dir="auto")),
            tag("td", "" if scored.probability is None else percent(scored.probability), class_="num"),
            tag("td", number(scored.logit), class_="num"),
            tag("td", label_tokens(scored), class_="quiet") if tokens else None,
        )
        for scored in result.classes
    ]
    return table(["#", "Class", "Probability", "Logit", *(["Log-probability of its tokens"] if tokens else [])], rows)


def label_tokens(scored: ClassScore) -> str:
    """The tokens of a label with their log-probabilities."""
    known = [(one_line(token.text), token.logprob) for token in scored.tokens or []]
    return ", ".join(text if logprob is None else f"{text} {number(logprob)}" for text, logprob in known)


def _surprise_note() -> Markup:
    return tag("div", "The stronger the colour, the less the model expected the token.", class_="quiet")


def _geometric_mean(logprob: float, count: int) -> str:
    return percent(math.exp(min(0.0, logprob / count))) if count else "none"


def _quoted(text: str) -> Markup:
    return tag("code", one_line(text, 120), dir="auto")


def _scored_notebook(result: Generation | Scoring) -> Markup:
    """The text coloured by its tokens' surprise, and the totals."""
    lead = result.prompt_tokens if isinstance(result, Scoring) else None
    total = f"log-probability {number(result.logprob)} over {plural(len(result.tokens), 'token')}"
    strip = tag("div", token_strip(result.prompt, result.tokens, lead), style="white-space:pre-wrap")
    return notebook_frame("scored", strip, tag("div", total, style="opacity:.75"), tokens_table(result.tokens))


def _tokenization_notebook(result: Tokenization) -> Markup:
    return notebook_frame("tokens", _tokenization_table(result))


def _classification_notebook(result: Classification) -> Markup:
    return notebook_frame("classes", tag("div", shown(result.prompt), dir="auto"), _classes_table(result))


def _heading(job: Job[Any], result: Any) -> Markup:
    """The result as a sentence."""
    match result:
        case Generation():
            return join([f"How {job.model} went on: ", _quoted(result.text)])
        case Scoring():
            return join([f"How likely {job.model} finds ", _quoted(result.text)])
        case Classification():
            return join([f"What {job.model} takes it for: ", _quoted(result.best.label)])
        case _:
            return join([f"How {job.model} reads the prompt"])


VIEWS = (
    View(Generation, heading=_heading, notebook=_scored_notebook, sections=_generation_sections),
    View(Scoring, heading=_heading, notebook=_scored_notebook, sections=_scoring_sections),
    View(Tokenization, heading=_heading, notebook=_tokenization_notebook, sections=_tokenization_sections),
    View(Classification, heading=_heading, notebook=_classification_notebook, sections=_classification_sections),
)
