"""Cards of models, methods, datasets and artifacts in one line."""

from collections.abc import Iterator

from explaind.contract.catalogue import MethodCard, ModelCard, Readiness
from explaind.contract.files import ArtifactCard, DatasetCard
from explaind.views.drawing.summary_line import bare, quoted
from explaind.views.drawing.text import plural, size
from explaind.views.registry import View


def _model(card: ModelCard) -> Iterator[str]:
    yield quoted(card.name, 100)
    yield card.state
    if card.kind is not None:
        yield card.kind
    yield bare(card.source, 60)
    yield " ".join(word for word in (card.dtype, card.quantization, "on", card.device) if word)
    if card.labels:
        yield plural(len(card.labels), "class").replace("classs", "classes")


def _method(card: MethodCard) -> Iterator[str]:
    yield f"{card.path.strip('/')}: {bare(card.title, 40)}"


def _dataset(card: DatasetCard) -> Iterator[str]:
    yield card.id
    yield quoted(card.name, 40)
    yield plural(card.rows, "row")
    yield "columns " + " ".join(bare(column) for column in card.columns[:6])


def _artifact(card: ArtifactCard) -> Iterator[str]:
    yield card.id
    yield quoted(card.name, 40)
    yield f"{card.kind} of {card.model}"
    yield size(card.bytes)


def _readiness(found: Readiness) -> Iterator[str]:
    yield "ready" if found.ready else f"not ready: {bare(found.reason or 'no reason given', 80)}"
    yield plural(found.workers, "worker")
    if found.queued is not None:
        yield f"{found.queued} queued"
    yield f"version {found.version}"


VIEWS = (
    View(ModelCard, summary=_model),
    View(MethodCard, summary=_method),
    View(DatasetCard, summary=_dataset),
    View(ArtifactCard, summary=_artifact),
    View(Readiness, summary=_readiness),
)
