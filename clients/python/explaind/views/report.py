"""A finished job as one HTML page that needs nothing else: no script, no font, no network."""

import math
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.lens import LensReading
from explaind.contract.job import Job, JobState
from explaind.contract.methods.evaluate.questions import QuestionsEvaluation
from explaind.contract.methods.explain.activation_patching import ActivationPatching
from explaind.contract.methods.explain.attention import AttentionPatterns
from explaind.contract.methods.explain.compare_methods import MethodComparison
from explaind.contract.methods.explain.head_ablation import HeadAblation
from explaind.contract.methods.explain.layer_ablation import LayerAblation
from explaind.contract.methods.explain.logit_attribution import LogitAttribution
from explaind.contract.methods.explain.tuned_lens import TunedLens
from explaind.contract.methods.infer.classify import Classification
from explaind.contract.methods.infer.generate import Generation
from explaind.contract.methods.infer.score import Scoring
from explaind.contract.methods.infer.tokenize import Tokenization
from explaind.contract.methods.train.tuned_lens import TunedLensTraining
from explaind.contract.registry import known_method
from explaind.protocol.results import typed_result
from explaind.views.ablation import ablation_question, ablation_sections
from explaind.views.activation_patching import patching_question, patching_sections
from explaind.views.attention import attention_heading, attention_sections
from explaind.views.attribution import attribution_sections
from explaind.views.comparison import comparison_question, comparison_sections
from explaind.views.drawing.cards import facts, problem_section, provenance_facts, section, tiles, timing_facts
from explaind.views.drawing.heatmap import question
from explaind.views.drawing.html import Markup, join, tag
from explaind.views.drawing.tables import (
    table,
    token_strip,
    tokens_table,
)
from explaind.views.drawing.text import number, one_line, percent, plural, shown
from explaind.views.lens import lens_question, lens_sections
from explaind.views.logit_attribution import logit_question, logit_sections
from explaind.views.questions import questions_heading, questions_sections
from explaind.views.tuned_lens import training_question, training_sections, tuned_lens_sections

# Nothing in the page may load or run anything, whatever a prompt contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def job_html(job: Job[Any]) -> str:
    """A whole page about a job: its result as pictures and tables, or why it has none."""
    try:
        result = typed_result(job)
    except ValidationError:
        result = job.result
    heading, sections = _content(job, result)
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", f"{job.method} · {job.model} · explaind"),
            tag("style", Markup(_style())),
        ),
        tag("body", tag("main", _header(job, heading), sections, _about(job), _footer(job))),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


@cache
def _style() -> str:
    return files("explaind.views").joinpath("report.css").read_text(encoding="utf-8")


def _content(job: Job[Any], result: Any) -> tuple[Markup, list[Markup]]:
    """The heading, and the sections about the result."""
    if job.state is not JobState.SUCCEEDED and result is None:
        return _unfinished(job)
    for kind, page in _PAGES.items():
        if isinstance(result, kind):
            return page(job, result)
    return join([job.method]), [section("Result", tag("code", shown(str(result))))]


def _generation(result: Generation) -> list[Markup]:
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


def _scoring(result: Scoring) -> list[Markup]:
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


def _tokenization(result: Tokenization) -> list[Markup]:
    spans = [(token.start, token.end) for token in result.tokens]
    rows = [
        tag(
            "tr",
            tag("td", str(index + 1), class_="num quiet"),
            tag("td", tag("code", one_line(token.text)), tag("small", " special") if token.special else None),
            tag("td", str(token.id), class_="num quiet"),
            tag("td", "none" if start is None or end is None else f"{start}–{end}", class_="num quiet"),
            tag("td", "" if token.unit is None else one_line(result.units[token.unit].text, 40)),
        )
        for index, (token, (start, end)) in enumerate(zip(result.tokens, spans, strict=True))
    ]
    return [
        section("The prompt", tag("div", shown(result.prompt), dir="auto", class_="text")),
        tiles({"Tokens": (str(result.count), None), "Units": (str(len(result.units)), None)}),
        section("Every token", table(["#", "Token", "Id", "Characters", "Unit"], rows), class_="flow"),
    ]


def _classification(result: Classification) -> list[Markup]:
    rows = [
        tag(
            "tr",
            tag("td", str(scored.index), class_="num quiet"),
            tag("td", tag("code", one_line(scored.label), dir="auto")),
            tag("td", "" if scored.probability is None else percent(scored.probability), class_="num"),
            tag("td", number(scored.logit), class_="num"),
        )
        for scored in result.classes
    ]
    return [
        section("The text", tag("div", shown(result.prompt), dir="auto", class_="text")),
        section("Every class", table(["#", "Class", "Probability", "Logit"], rows), class_="flow"),
    ]


def _unfinished(job: Job[Any]) -> tuple[Markup, list[Markup]]:
    if job.error is not None:
        return join(["The job failed" if job.state is JobState.FAILED else f"The job is {job.state.value}"]), [
            problem_section(job.error)
        ]
    heading = join([f"The job is {job.state.value}"])
    if job.progress is None:
        return heading, []
    progress = job.progress
    total = "" if progress.total is None else f" of {progress.total:,}"
    return heading, [section("Progress", f"{progress.phase}: {progress.done:,}{total} {progress.unit}")]


def _header(job: Job[Any], heading: Markup) -> Markup:
    method = known_method(job.method)
    state = job.state.value if job.state.value in {"succeeded", "failed"} else "other"
    return tag(
        "header",
        tag(
            "div",
            tag("b", "explaind"),
            tag("span", f"{method.title} · {job.method}" if method else job.method),
            tag("span", job.model),
            tag("span", job.state.value, class_=f"state {state}"),
            class_="brand",
        ),
        tag("h1", heading),
    )


def _about(job: Job[Any]) -> list[Markup | None]:
    """Cost, origin and the caller's own words."""
    return [
        section("What it cost", facts(timing_facts(job.timing))) if job.timing else None,
        section("Where it comes from", facts(provenance_facts(job.provenance))) if job.provenance else None,
        section("Metadata", facts(dict(job.metadata))) if job.metadata else None,
    ]


def _footer(job: Job[Any]) -> Markup:
    times = [("asked", job.created_at), ("finished", job.finished_at), ("kept until", job.expires_at)]
    said = " · ".join(f"{what} {_moment(when)}" for what, when in times if when is not None)
    return tag("footer", tag("div", f"Job {job.id}"), tag("div", said))


def _surprise_note() -> Markup:
    return tag("div", "The stronger the colour, the less the model expected the token.", class_="quiet")


def _geometric_mean(logprob: float, count: int) -> str:
    return percent(math.exp(min(0.0, logprob / count))) if count else "none"


def _quoted(text: str) -> Markup:
    return tag("code", one_line(text, 120), dir="auto")


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S %Z").strip()


_PAGES: dict[type, Callable[[Job[Any], Any], tuple[Markup, list[Markup]]]] = {
    Attribution: lambda _, result: (question(result), attribution_sections(result)),
    MethodComparison: lambda _, result: (comparison_question(result), comparison_sections(result)),
    TunedLens: lambda _, result: (lens_question(result), tuned_lens_sections(result)),
    TunedLensTraining: lambda _, result: (training_question(result), training_sections(result)),
    LensReading: lambda _, result: (lens_question(result), lens_sections(result)),
    LogitAttribution: lambda _, result: (logit_question(result), logit_sections(result)),
    AttentionPatterns: lambda _, result: (attention_heading(result), attention_sections(result)),
    HeadAblation: lambda _, result: (ablation_question(result), ablation_sections(result)),
    LayerAblation: lambda _, result: (ablation_question(result), ablation_sections(result)),
    ActivationPatching: lambda _, result: (patching_question(result), patching_sections(result)),
    Generation: lambda job, result: (
        join([f"How {job.model} went on: ", _quoted(result.text)]),
        _generation(result),
    ),
    Scoring: lambda job, result: (join([f"How likely {job.model} finds ", _quoted(result.text)]), _scoring(result)),
    Tokenization: lambda job, result: (join([f"How {job.model} reads the prompt"]), _tokenization(result)),
    Classification: lambda job, result: (
        join([f"What {job.model} takes it for: ", _quoted(result.best.label)]),
        _classification(result),
    ),
    QuestionsEvaluation: lambda job, result: (questions_heading(result, job.model), questions_sections(result)),
}
