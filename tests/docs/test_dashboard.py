"""The dashboard, the alerts and the docs ask for what is measured; the dashboard leaves nothing out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from explaind.contract.job import JobState
from explaind_service.metrics import names

GRAFANA = Path(__file__).parents[2] / "docs" / "grafana"
BY_SAMPLE = {sample: metric for metric in names.ALL for sample in metric.samples}
QUOTED = re.compile(r'"[^"]*"')
SELECTION = re.compile(r"(explaind_\w+)(\{[^}]*\})?")
KEPT = re.compile(r"\b(?:sum|min|max|avg|count) by \(([^)]*)\)")
VARIABLE = re.compile(r"\$(\w+)")
OWN_VARIABLES = {"__rate_interval"}  # Grafana's


def dashboard() -> dict[str, Any]:
    return json.loads((GRAFANA / "explaind.json").read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    text = (GRAFANA / "alerts.yml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def _expressions() -> Iterator[Any]:
    for panel in panels():
        for target in panel["targets"]:
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            yield pytest.param(target["expr"], shown, id=f"{panel['title']}-{target['refId']}")
    for rule in alerts():
        yield pytest.param(rule["expr"], re.findall(r"\$labels\.(\w+)", str(rule["annotations"])), id=rule["alert"])
    page = (GRAFANA.parent / "observability.md").read_text(encoding="utf-8")
    for expr in re.findall(r"^```promql\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        yield pytest.param(expr, [], id=expr.strip())


EXPRESSIONS = list(_expressions())


def selectors(expr: str) -> list[tuple[names.MetricName, str, set[str]]]:
    """The metric, the sample and the labels of each selector; fails on one that does not exist."""
    return [
        (BY_SAMPLE[sample], sample, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", QUOTED.sub("", matchers))))
        for sample, matchers in SELECTION.findall(expr)
    ]


@pytest.mark.parametrize(("expr", "shown"), EXPRESSIONS)
def test_an_expression_is_right(expr: str, shown: list[str]) -> None:
    bare = QUOTED.sub("", expr)
    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing)
    assert selectors(expr)
    known: set[str] = set()
    for metric, sample, used in selectors(expr):
        labels = {*metric.labels, *(["le"] if sample.endswith("_bucket") else [])}
        assert used <= labels, f"{sample} has no {used - labels}"
        known |= labels
        # A counter is read by how fast it grows, a gauge as it is.
        grows = re.search(rf"(?:rate|increase)\({sample}(?:\{{[^}}]*\}})?\[", expr) is not None
        assert grows is (metric.kind != "gauge"), f"{sample} is a {metric.kind}"
    kept = [{label.strip() for label in group.split(",")} for group in KEPT.findall(expr)]
    for group in kept:
        assert group <= known, f"no {group - known} in {expr}"
    assert set(shown) <= (kept[0] if kept else set()), f"the legend shows what is summed away in {expr}"
    if "histogram_quantile" in expr:
        assert all("le" in group for group in kept)
        assert all(sample.endswith("_bucket") for _, sample, _ in selectors(expr))


@pytest.mark.parametrize(("expr", "shown"), EXPRESSIONS)
def test_what_each_process_tells_of_the_store_is_taken_once(expr: str, shown: list[str]) -> None:
    for metric, sample, _ in selectors(expr):
        if metric.source == "process":
            continue
        inner = re.search(rf"(\w+)(?: by \(([^)]*)\))? ?\((?:rate|increase)?\(?{sample}", expr)
        assert inner is not None, expr
        assert inner[1] in {"max", "min"}
        # All labels that the selector does not fix must be kept, or series would be mixed up.
        if metric.kind != "gauge":
            fixed = set(re.findall(rf'{sample}\{{[^}}]*?(\w+)="', expr))
            assert set(metric.labels) - fixed <= {label.strip() for label in (inner[2] or "").split(",")}, expr


def test_the_dashboard_shows_every_metric() -> None:
    shown = {metric for panel in panels() for target in panel["targets"] for metric, *_ in selectors(target["expr"])}
    assert shown == set(names.ALL)


def test_the_variables_exist() -> None:
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert set(VARIABLE.findall(target["expr"])) <= {*variables, *OWN_VARIABLES}
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables["method"]["query"]["query"])
    assert asked is not None
    assert asked[2] in BY_SAMPLE[asked[1]].labels


def test_the_dashboard_can_be_imported() -> None:
    board = dashboard()
    assert board["schemaVersion"] >= 39
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Queue", "Jobs by method", "Workers and memory", "Faults", "HTTP"]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), f"{panel['title']} covers another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_states_that_are_asked_for_exist() -> None:
    text = (GRAFANA / "explaind.json").read_text(encoding="utf-8") + (GRAFANA / "alerts.yml").read_text(
        encoding="utf-8"
    )
    asked = set(re.findall(r'state=\\?"(\w+)\\?"', text))
    assert asked
    assert asked <= {state.value for state in JobState if state.terminal}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
