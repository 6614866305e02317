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

GRAFANA = Path(__file__).parents[2] / "docs" / "operate" / "grafana"
BY_SAMPLE = {sample: metric for metric in names.ALL for sample in metric.samples}
SAMPLE = re.compile(r"explaind_\w+")
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
            yield pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for rule in alerts():
        yield pytest.param(rule["expr"], id=rule["alert"])
    page = (GRAFANA.parent / "observability.md").read_text(encoding="utf-8")
    for expr in re.findall(r"^```promql\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        yield pytest.param(expr, id=expr.strip())


EXPRESSIONS = list(_expressions())


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_an_expression_asks_for_what_is_measured(expr: str) -> None:
    asked = SAMPLE.findall(expr)
    assert asked
    assert set(asked) <= BY_SAMPLE.keys()


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in SAMPLE.findall(target["expr"])}
    assert {BY_SAMPLE[name] for name in shown} == set(names.ALL)


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
