"""The dashboard and the alert rules name metrics and labels that exist."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from micro._protocol.models import EndpointStats, ServiceStats
from micro.prometheus import families

FOLDER = Path(__file__).parents[1] / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0][
    "rules"
]
EXPRESSIONS = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *(rule["expr"] for rule in RULES),
]


def known() -> tuple[set[str], set[str]]:
    """Return the names of all samples of the exporter, and of their labels."""
    own = {"in_flight": 0, "queued": 0, "rejected": 0, "expired": 0, "errors": {"500": 1}}
    own |= {"p50_ns": 1, "durations": {"0.0001": 1}}
    endpoint = EndpointStats(name="e", subject="s", num_requests=1, data={"micro": own})
    stats = ServiceStats(
        name="n", id="i", version="1.0.0", started=datetime.now(UTC), endpoints=[endpoint]
    )
    samples = [sample for family in families([stats]) for sample in family.samples]
    names = {sample.name for sample in samples} | {"micro_discovery_up"}
    return names, {label for sample in samples for label in sample.labels}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_of_the_exporter(expression: str) -> None:
    names, labels = known()
    grouped = re.findall(r"by \(([\w, ]+)\)", expression)
    used = {label.strip() for group in grouped for label in group.split(",")}
    used |= set(re.findall(r"(\w+)=~?\"", expression))

    assert set(re.findall(r"micro_\w+", expression)) <= names
    assert re.findall(r"micro_\w+", expression)
    assert used <= labels
    assert expression.count("(") == expression.count(")")


def test_panels_have_places_of_their_own() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]

    assert len({(x, y) for x, y, _, _ in places}) == len(places)
    assert all(x + width <= 24 for x, _, width, _ in places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


def test_a_summary_names_labels_that_its_expression_keeps() -> None:
    for rule in RULES:
        kept = set(re.findall(r"\w+", "".join(re.findall(r"by \(([\w, ]+)\)", rule["expr"])[:1])))
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert named <= kept, rule["alert"]
