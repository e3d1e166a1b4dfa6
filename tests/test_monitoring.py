"""The dashboard and the alert rules are read by their own tools, and name what exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from micro._protocol.models import EndpointStats, ServiceStats
from micro.prometheus import families

from .interop.conftest import locked, unavailable

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


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Return the tool of Prometheus, from the package of Debian if required."""
    installed = shutil.which("promtool")
    if installed is not None:
        return Path(installed)
    cache = Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "natsmicro", "prometheus"
    )
    tool = cache / "usr/bin/promtool"
    with locked(cache.with_suffix(".lock")):
        if not tool.exists() and os.environ.get("INTEROP_REQUIRED") == "1":
            cache.mkdir(parents=True, exist_ok=True)
            run("apt-get", "update", folder=cache)
            run("apt-get", "download", "prometheus", folder=cache)
            run("dpkg-deb", "-x", *(path.name for path in cache.glob("*.deb")), ".", folder=cache)
    if not tool.exists():
        unavailable("promtool is not on the PATH")
    return tool


def run(*command: str | Path, folder: Path = FOLDER) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_alert_rules(promtool: Path) -> None:
    assert f"{len(RULES)} rules found" in run(promtool, "check", "rules", "alerts.yaml")


def test_each_fault_raises_its_alert(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts_test.yaml")
    cases = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    raised = [test for case in cases for test in case["alert_rule_test"] if "exp_alerts" in test]
    assert {test["alertname"] for test in raised} == {rule["alert"] for rule in RULES}


def test_prometheus_takes_the_expressions_of_the_panels(promtool: Path, tmp_path: Path) -> None:
    values = {"$__rate_interval": "5m", "$service": "shop|bank", "$endpoint": ".*"}
    rules = []
    for number, expression in enumerate(EXPRESSIONS):
        filled = re.sub(r"\$\w+", lambda variable: values[variable[0]], expression)
        rules.append({"record": f"panel:{number}", "expr": filled})
    (tmp_path / "panels.yaml").write_text(
        json.dumps({"groups": [{"name": "panels", "rules": rules}]})
    )
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", tmp_path / "panels.yaml")


def test_grafana_knows_every_member_of_the_dashboard() -> None:
    """The model of Grafana reads the file, and writes it again with nothing lost or changed."""
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert lost(DASHBOARD, written) == []


def lost(value: Any, written: Any, place: str = "") -> list[str]:
    """Return the places of a JSON value that are missing or differ in another."""
    if isinstance(value, dict) and isinstance(written, dict):
        return [
            each
            for name, member in value.items()
            for each in lost(member, written.get(name), f"{place}/{name}")
        ]
    if isinstance(value, list) and isinstance(written, list) and len(value) == len(written):
        pairs = enumerate(zip(value, written, strict=True))
        return [each for index, pair in pairs for each in lost(*pair, f"{place}/{index}")]
    return [] if value == written else [place]


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
