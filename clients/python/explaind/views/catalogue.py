"""Models, methods, datasets, artifacts and jobs as tables, and what a job would cost."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from explaind.contract.base import CardList
from explaind.contract.catalogue import MethodCard, ModelCard
from explaind.contract.estimate import Estimate
from explaind.contract.files import ArtifactCard, DatasetCard, DatasetPreview, FilePage
from explaind.contract.job import Job, JobPage
from explaind.views.drawing.cards import facts, notebook_frame, section
from explaind.views.drawing.html import Markup, Node, tag
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import one_line, plural, seconds, size
from explaind.views.registry import View

MOST_ROWS = 200
MOST_PREVIEWED = 32  # columns

_Columns = Mapping[str, Callable[[Any], str]]
_MODEL: _Columns = {
    "Model": lambda card: card.name,
    "Kind": lambda card: card.kind or "",
    "Source": lambda card: card.source,
    "Dtype": lambda card: " ".join(filter(None, (card.dtype, card.quantization))),
    "Device": lambda card: card.device,
    "Prompt tokens": lambda card: f"{card.limits.max_prompt_tokens:,}",
    "State": lambda card: card.state,
}
_METHOD: _Columns = {
    "Method": lambda card: card.path.strip("/"),
    "Title": lambda card: card.title,
    "What it answers": lambda card: card.summary,
}
_DATASET: _Columns = {
    "Dataset": lambda card: card.id,
    "Name": lambda card: card.name,
    "Rows": lambda card: f"{card.rows:,}",
    "Columns": lambda card: ", ".join(card.columns),
    "Size": lambda card: size(card.bytes),
}
_ARTIFACT: _Columns = {
    "Artifact": lambda card: card.id,
    "Name": lambda card: card.name,
    "Kind": lambda card: card.kind,
    "Model": lambda card: card.model,
    "Size": lambda card: size(card.bytes),
}
_JOB: _Columns = {
    "Job": lambda job: job.id,
    "Method": lambda job: job.method,
    "Model": lambda job: job.model,
    "State": lambda job: job.state.value,
    "Created": lambda job: job.created_at.strftime("%Y-%m-%d %H:%M:%S"),
}
_OF_CLASS: Mapping[type, _Columns] = {
    ModelCard: _MODEL,
    MethodCard: _METHOD,
    DatasetCard: _DATASET,
    ArtifactCard: _ARTIFACT,
    Job: _JOB,
}


def _card(card: object) -> Markup:
    return _cards([card])


def _cards(cards: Sequence[object]) -> Markup:
    """A table for each run of cards of one class."""
    shown = [(_columns_of(card), card) for card in cards[:MOST_ROWS]]
    tables = [
        _table(columns or {}, [card for _, card in run]) for columns, run in groupby(shown, key=lambda each: each[0])
    ]
    left = len(cards) - len(shown)
    return notebook_frame(
        "cards",
        tables or tag("div", "There are none."),
        tag("div", f"and {plural(left, 'more')}".removesuffix("s")) if left > 0 else None,
    )


def _preview(preview: DatasetPreview) -> Markup:
    """The card, and the first rows."""
    names = preview.columns[:MOST_PREVIEWED]
    rows = [
        ["" if row.get(name) is None else one_line(str(row[name]), 120) for name in names] for row in preview.preview
    ]
    first = table(names, [tag("tr", [tag("td", text, dir="auto") for text in row]) for row in rows])
    return notebook_frame("dataset", _card(preview), tag("div", tag("b", "First rows")), first)


def _columns_of(card: object) -> _Columns:
    return next((columns for cls, columns in _OF_CLASS.items() if isinstance(card, cls)), {"": repr})


def _table(columns: _Columns, cards: Sequence[object]) -> Markup:
    rows = [
        tag("tr", [tag("td", one_line(read(card), 200), dir="auto") for read in columns.values()]) for card in cards
    ]
    return table(list(columns), rows)


def _estimate_facts(estimate: Estimate) -> dict[str, Node]:
    return {
        "Seconds of work": f"{seconds(estimate.seconds)} ({estimate.basis})",
        "Loading the model": "not known" if estimate.load_s is None else seconds(estimate.load_s),
        "Forward passes": f"{estimate.forwards:,}",
        "Tokens evaluated": f"{estimate.tokens_evaluated:,}",
        "Tokens saved": f"{estimate.tokens_saved:,}",
        "Evaluations": None if estimate.evaluations is None else f"{estimate.evaluations:,}",
        "Memory": f"{size(estimate.peak_bytes)} beside the weights of {size(estimate.model_bytes)}",
        "Free now": size(estimate.free_bytes),
        "Fits": "yes" if estimate.fits else "no: this job cannot run on this worker",
        "Note": one_line(estimate.note) if estimate.note else None,
    }


def _estimate(estimate: Estimate) -> Markup:
    lines = [tag("div", f"{name}: ", text) for name, text in _estimate_facts(estimate).items() if text is not None]
    return notebook_frame("estimate", tag("div", tag("b", f"What {estimate.method} would cost")), lines)


def _estimate_sections(estimate: Estimate) -> list[Markup]:
    return [section(f"What {estimate.method} would cost", facts(_estimate_facts(estimate)), class_="flow")]


VIEWS = (
    *(View(cls, notebook=_card) for cls in (ModelCard, MethodCard, DatasetCard, ArtifactCard)),
    View(CardList, notebook=_cards),
    View(DatasetPreview, notebook=_preview),
    *(View(cls, notebook=lambda page: _cards(page.data)) for cls in (JobPage, FilePage)),
    View(Estimate, notebook=_estimate, sections=_estimate_sections),
)
