"""Attributions and comparisons of them in one line."""

from collections.abc import Iterator

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.compare_methods import MethodComparison
from explaind.views.drawing.summary_line import against, strongest
from explaind.views.drawing.text import plural
from explaind.views.registry import View


def _attribution(result: Attribution) -> Iterator[str]:
    yield _asked(result)
    kind = {"segments": "segment", None: "unit"}.get(result.unit_kind, str(result.unit_kind))
    yield plural(len(result.units), kind)
    yield from strongest([unit.name or unit.text for unit in result.units], result.values)


def _comparison(result: MethodComparison) -> Iterator[str]:
    yield _asked(result)
    yield plural(len(result.units), "unit")
    names = [unit.name or unit.text for unit in result.units]
    for method in result.methods:
        said = "failed" if method.values is None else " ".join(strongest(names, method.values, 1)[:1])
        yield f"{method.label}: {said}"


def _asked(result: Attribution | MethodComparison) -> str:
    said = against(result.target.text, result.foil.text if result.foil else None)
    return f"{said} of {plural(len(result.labels), 'label')}" if result.labels else said


VIEWS = (View(Attribution, summary=_attribution), View(MethodComparison, summary=_comparison))
