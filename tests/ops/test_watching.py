"""The dashboard and the alert rules ask for what is really exported, and each alert says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.kernel import metrics
from tests.cast import PAYER
from tests.serving import Served

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((DOCS / "grafana/ballast.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((DOCS / "prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SHOWN = [target["expr"].replace("$__rate_interval", "5m") for panel in PANELS for target in panel["targets"]]
# Families that no panel shows, and why.
NOT_SHOWN: dict[str, str] = {}
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}


def nodes(node: Any) -> Iterator[Any]:
    """The expression and all that is in it."""
    yield node
    inner = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
    for child in (*inner, *(getattr(node, "args", None) or ())):
        if child is not None and type(child).__module__.startswith("promql_parser"):
            yield from nodes(child)


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that is asked for, with the labels that it is chosen by."""
    for node in nodes(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name, {matcher.name for matcher in node.matchers.matchers}


def grouped(expression: str) -> set[str]:
    """The labels that anything in it is grouped by."""
    return {word for words in re.findall(r"\bby \(([^)]*)\)", expression) for word in re.findall(r"\w+", words)}


@pytest.fixture
async def exported(served: Served) -> dict[str, set[str]]:
    """The name of each sample that /metrics may show, and its labels, after a little traffic."""
    await served.says(PAYER, "/start")
    await served.says(PAYER, "/generate qr hello")
    async with served.http.get(f"{served.base}/metrics") as response:
        families = list(text_string_to_metric_families(await response.text()))
    declared = {metric._name: set(metric._labelnames) for metric in vars(metrics).values() if hasattr(metric, "_name")}
    found: dict[str, set[str]] = {}
    for family in families:
        seen = {label for sample in family.samples for label in sample.labels} | declared.get(family.name, set())
        for suffix in SUFFIXES.get(family.type, ("",)):
            found[f"{family.name}{suffix}"] = seen | ({"le"} if suffix == "_bucket" else set())
    return found


async def test_what_is_asked_for_is_exported(exported: dict[str, set[str]]) -> None:
    asked = [*SHOWN, *(rule["expr"] for rule in RULES)]
    assert len(asked) > 50
    for expression in asked:
        labels: set[str] = set()
        for name, chosen_by in selectors(expression):
            assert name in exported, f"{name} of {expression}"
            assert chosen_by <= exported[name], f"{name} has no {chosen_by - exported[name]}: {expression}"
            labels |= exported[name]
        assert grouped(expression) <= labels, f"{grouped(expression) - labels} of {expression}"


async def test_what_is_exported_is_shown(exported: dict[str, set[str]]) -> None:
    shown = {name for expression in SHOWN for name, _ in selectors(expression)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert families - asked - set(NOT_SHOWN) == set()
    assert set(NOT_SHOWN) <= families - asked, "it is shown after all, or gone"


def test_a_wrong_name_is_noticed() -> None:
    assert list(selectors('sum by (le) (rate(ballast_no_such_bucket{a="b"}[5m])) > 1 and absent(b)')) == [
        ("ballast_no_such_bucket", {"a"}),
        ("b", set()),
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    section = OPERATIONS.partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
    assert "**What it means.**" in section
    assert "**What to type.**" in section


def test_every_section_has_its_alert() -> None:
    alerts = OPERATIONS.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", alerts, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_the_dashboard_can_be_imported() -> None:
    """What Grafana 11 and 12 want: the model of schema 39 and later, a data source that is asked for, ids once."""
    assert DASHBOARD["schemaVersion"] >= 39
    assert "id" not in DASHBOARD, "the number of somebody's own Grafana"
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_rows() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["At a glance", "Doors", "Money", "Work", "Database", "Features and processes"]
