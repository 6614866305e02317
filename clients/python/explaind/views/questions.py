"""HTML view of answered questions: answers, mistakes by category, activations of right and wrong answers."""

from collections.abc import Sequence

from explaind.contract.blocks.grading import MEANING
from explaind.contract.methods.evaluate.questions import (
    Accuracy,
    ActivationComparison,
    FailureCount,
    JudgedQuestion,
    QuestionsEvaluation,
)
from explaind.views.drawing.bars import Bar, bars_html
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.line_chart import QUIET_COLOUR, Axis, Line, line_chart
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, percent, percent_range, plural, shown, signed
from explaind.views.parts.pie import pie
from explaind.views.registry import View

_HOW = "What was expected and said, and the rule that judged it. More: docs/guide/question-sets.md."


def heading(result: QuestionsEvaluation, model: str) -> Markup:
    """The accuracy as a sentence."""
    total = result.total
    return join([f"{model} is right about {total.right} of {plural(total.count, 'question')}"])


def sections(result: QuestionsEvaluation) -> list[Markup]:
    """The report's sections."""
    sections = [
        tiles(totals(result)),
        _failures(result) if _any(result) else None,
        section("Every question", questions_table(result.questions), how=_HOW, class_="flow"),
        section("By kind", kinds_table(result.by_kind), class_="flow") if result.by_kind else None,
        _activations(result.activations) if result.activations else None,
        section("How it was asked", facts(asked(result))),
    ]
    return [section for section in sections if section is not None]


def notebook(result: QuestionsEvaluation) -> Markup:
    """The evaluation for a notebook: its numbers and every question."""
    return notebook_frame("questions", tag("div", tag("b", summary(result))), questions_table(result.questions))


def summary(result: QuestionsEvaluation) -> str:
    """One line: accuracy with its interval, and the mistakes."""
    total = result.total
    said = f"{total.right} of {total.count} right ({percent(total.accuracy)}, {_interval(total)})"
    mistakes = [f"{failure.count} {in_words(failure.category)}" for failure in result.failures if failure.count]
    return " · ".join([said, *mistakes])


def in_words(name: str) -> str:
    """A category or rule as text."""
    return name.replace("_", " ")


def _failures(result: QuestionsEvaluation) -> Markup:
    counts = [(in_words(found.category), found.count) for found in result.failures]
    title = plural(sum(count for _, count in counts), "wrong answer")
    drawn = (pie(counts, title=title), failure_bars(result.failures), _rules(result.failures))
    return section("How it went wrong", *drawn)


def _any(result: QuestionsEvaluation) -> bool:
    return any(failure.count for failure in result.failures)


def totals(result: QuestionsEvaluation) -> dict[str, tuple[str, str | None]]:
    """What the answers come to: name, value, note."""
    confidence = f"{100 * result.confidence:g} %"
    numbers: dict[str, tuple[str, str | None]] = {
        "Accuracy": (percent(result.total.accuracy), f"{confidence} interval {_interval(result.total)}"),
        "Right answers": (number(result.mean_logprob), "mean log-probability, nats"),
    }
    if result.mean_difference is not None and result.preferred is not None:
        numbers["Answer minus foil"] = (signed(result.mean_difference), "mean log-probability, nats")
        numbers["Prefers the answer"] = (percent(result.preferred), "of the questions with a foil")
    return numbers


def _interval(of: Accuracy) -> str:
    return percent_range(of.low, of.high)


def failure_bars(failures: Sequence[FailureCount]) -> Markup:
    """A bar for each category of mistakes, with its count."""
    bars = [Bar(in_words(found.category), None, found.count, written=str(found.count)) for found in failures]
    return bars_html(bars, title="Mistakes by kind")


def _rules(failures: Sequence[FailureCount]) -> Markup:
    """Explanations of the rules that applied."""
    rows = [
        tag(
            "tr",
            tag("td", in_words(failure.category)),
            tag("td", in_words(rule)),
            tag("td", str(count), class_="num"),
            tag("td", MEANING[rule], class_="quiet words"),
        )
        for failure in failures
        for rule, count in failure.rules.items()
    ]
    return table(["Mistake", "Rule", "", ""], rows)


def questions_table(questions: Sequence[JudgedQuestion]) -> Markup:
    """Every question with expected and generated answer, and its grade."""
    rows = [
        tag(
            "tr",
            tag("td", str(index + 1), class_="num quiet"),
            tag("td", _question(question), dir="auto", class_="words"),
            tag("td", _expected(question), dir="auto"),
            tag("td", _said(question), dir="auto", class_="words"),
            tag("td", _verdict(question), class_="words"),
            tag("td", number(question.logprob), class_="num"),
            tag("td", _difference(question), class_="num"),
        )
        for index, question in enumerate(questions)
    ]
    heads = ["#", "Question", "Expected", "Said", "Judged", "Log-prob", "− foil"]
    return table(heads, rows)


def _question(question: JudgedQuestion) -> Markup:
    """The question, with its name before it and its kind behind it where it has them."""
    name = tag("b", one_line(question.name, 80), " ") if question.name else None
    kind = tag("small", f" {one_line(question.kind, 40)}") if question.kind else None
    return join([name, one_line(question.question, 140), kind])


def _expected(question: JudgedQuestion) -> Markup:
    foil = tag("small", " not ", tag("code", one_line(question.foil, 40))) if question.foil is not None else None
    return join([tag("code", one_line(question.answer, 40)), foil])


def _said(question: JudgedQuestion) -> Markup:
    """The generated text, and the extracted answer if it is shorter."""
    said = tag("code", one_line(question.said, 80)) if question.said.strip() else tag("small", "nothing")
    ended = {"end": None, "stop": " at a stop text", "length": " cut off at max_new_tokens"}[question.finish]
    taken = question.extracted
    part = None if taken is None or taken == question.said.strip() else f" taken: {one_line(taken, 40)}"
    return join([said, tag("small", part) if part else None, tag("small", ended) if ended else None])


def _verdict(question: JudgedQuestion) -> Markup:
    if question.right:
        return tag("span", "✓ right", class_="succeeded")
    category = in_words(question.category or "wrong")
    said = ": ".join(part for part in (in_words(question.rule or ""), shown(question.explanation or "")) if part)
    why = tag("div", tag("small", said)) if said else None
    return join([tag("span", f"✗ {category}", class_="failed"), why])


def _difference(question: JudgedQuestion) -> str:
    return "" if question.foil_logprob is None else signed(question.logprob - question.foil_logprob)


def kinds_table(kinds: Sequence[Accuracy]) -> Markup:
    """Accuracy for each kind of question."""
    rows = [
        tag(
            "tr",
            tag("td", one_line(kind.kind or "of no kind", 60), dir="auto"),
            tag("td", f"{kind.right} of {kind.count}", class_="num"),
            tag("td", percent(kind.accuracy), class_="num"),
            tag("td", _interval(kind), class_="num quiet"),
            tag(
                "td",
                tag(
                    "div",
                    tag("i", style=f"width:{100 * kind.accuracy:.1f}%;left:0", class_="sure"),
                    class_="meter plain",
                ),
                class_="wide",
            ),
        )
        for kind in kinds
    ]
    return table(["Kind", "", "", "", ""], rows)


def _activations(found: ActivationComparison) -> Markup:
    """Distance and cosine of the two means by layer, compared with random splits."""
    charts = [
        _chart(
            "Distance of the means, by layer",
            [
                _chance_line("random splits, 95 % below", found.random_l2_high),
                _chance_line("random splits, mean", found.random_l2),
                Line("right and wrong", found.l2),
            ],
        ),
        _chart(
            "Cosine of the means, by layer",
            [
                _chance_line("random splits, mean", found.random_cosine),
                Line("right and wrong", found.cosine),
            ],
        ),
    ]
    return section(
        "Inside: right beside wrong",
        tag("div", charts, class_="charts"),
        tag("div", furthest_layer(found), class_="quiet"),
        note=f"{found.right} right, {found.wrong} wrong; dashed: {plural(found.splits, 'random split')}",
    )


def furthest_layer(found: ActivationComparison) -> str:
    """The layer where right and wrong answers differ most beside chance, in a sentence."""
    least = min(range(len(found.l2_p)), key=lambda layer: found.l2_p[layer])
    return (
        f"In layer {least} the means of right and wrong lie furthest apart beside chance: {percent(found.l2_p[least])} "
        f"of the random splits lie as far, the smallest such share of {plural(len(found.l2_p), 'layer')}."
    )


def _chart(title: str, lines: Sequence[Line]) -> Markup:
    return line_chart(lines, title=title, x=Axis("layer", whole=True))


def _chance_line(label: str, values: Sequence[float]) -> Line:
    return Line(label, values, colour=QUIET_COLOUR, dashed=True)


def asked(result: QuestionsEvaluation) -> dict[str, Node]:
    """How it was asked, and what the answers come to."""
    return {
        "Template": tag("code", shown(result.template), dir="auto"),
        "As a chat": "yes" if result.chat else "no",
        "Answer": in_words(result.answer),
        "Intervals": f"{100 * result.confidence:g} %, Wilson",
    }


VIEW = View(
    QuestionsEvaluation,
    heading=lambda job, result: heading(result, job.model),
    notebook=notebook,
    sections=sections,
)
