"""The registry of views: one for every result, the generic one for a class that has none."""

import subprocess
import sys
from io import StringIO
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

import explaind
from explaind.contract.base import ResponseModel
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.job import Job
from explaind.contract.registry import all_methods
from explaind.views import registry
from explaind.views.registry import HTML_VIEWS, View, all_views, find_view, notebook_html

TERMINAL_VIEWS = "explaind.cli.views"
RESULTS = sorted({method.result for method in all_methods().values()}, key=lambda result: result.__name__)


class Weights(ResponseModel):
    """A result that no view knows."""

    words: list[str]
    weights: list[float]
    heads: list[list[float]]
    note: str


WEIGHTS = Weights(
    words=["<b>great", " food"], weights=[0.75, -0.25], heads=[[0.5, 1.5], [2.5, 3.5]], note="<script>bad()</script>"
)


OWN_VIEWS = 15  # results with views of their own, in notebook, report and terminal; a new result may do without


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.__name__)
def test_every_result_can_be_drawn(result: type) -> None:
    view = find_view(result, HTML_VIEWS, TERMINAL_VIEWS)
    assert view.notebook
    assert view.sections
    assert view.terminal


def test_no_view_is_lost() -> None:
    """A module that is moved or misnamed would leave its result to the generic view, without an error."""
    generic = find_view(object, HTML_VIEWS, TERMINAL_VIEWS)
    found = [find_view(result, HTML_VIEWS, TERMINAL_VIEWS) for result in RESULTS]
    for part in ("notebook", "sections", "terminal"):
        assert sum(getattr(view, part) is not getattr(generic, part) for view in found) >= OWN_VIEWS


def test_a_subclass_looks_as_its_base_does() -> None:
    class Renamed(Attribution):
        pass

    assert find_view(Renamed).notebook is find_view(Attribution).notebook
    assert (
        find_view(Renamed, HTML_VIEWS, TERMINAL_VIEWS).terminal
        is find_view(Attribution, HTML_VIEWS, TERMINAL_VIEWS).terminal
    )


def test_a_result_without_a_view_is_drawn_from_its_fields() -> None:
    drawn = notebook_html(WEIGHTS)
    assert drawn == explaind.contract.base.ResponseModel._repr_html_(WEIGHTS)
    for said in ("words", "weights", "great", "food", "0.75", "3.5", "&lt;script&gt;"):
        assert said in drawn.lower()
    assert "<script" not in drawn
    assert "<b>great" not in drawn


def test_the_terminal_shows_the_fields_of_a_result_without_a_view() -> None:
    out = StringIO()
    show = find_view(Weights, HTML_VIEWS, TERMINAL_VIEWS).terminal
    assert show is not None
    show(Console(file=out, width=100, color_system=None), WEIGHTS)
    for said in ("great", "food", "0.75", "bad()"):
        assert said in out.getvalue()


def test_a_report_has_sections_for_a_result_without_a_view() -> None:
    sections = "".join(map(str, (find_view(Weights).sections or list)(WEIGHTS)))
    assert "great" in sections
    assert "<script" not in sections


def test_two_views_of_one_class_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ModuleType("made.first"), ModuleType("made.second")
    first.VIEW = second.VIEW = View(Weights)  # type: ignore[attr-defined]
    modules = {"made": SimpleNamespace(__path__=[]), "made.first": first, "made.second": second}
    monkeypatch.setattr(registry.importlib, "import_module", modules.__getitem__)
    found = [SimpleNamespace(name="first"), SimpleNamespace(name="second")]
    monkeypatch.setattr(registry.pkgutil, "iter_modules", lambda _: found)
    with pytest.raises(TypeError, match="Two views in made draw Weights"):
        all_views.__wrapped__("made")


def test_the_contract_draws_nothing() -> None:
    """Its import loads no view, and a result shows its text where nothing was registered to draw it."""
    code = (
        "import sys, explaind.contract.job, explaind.contract.registry as registry\n"
        "registry.all_methods()\n"
        "from explaind.contract.display import DISPLAY\n"
        "assert not [name for name in sys.modules if name.startswith('explaind.views')]\n"
        "DISPLAY.renderer = None\n"
        "from explaind.contract.base import ResponseModel\n"
        "assert ResponseModel()._repr_html_() is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_job_is_drawn_too() -> None:
    assert find_view(Job).notebook is not find_view(object).notebook
