"""The manifests in ``k8s`` fit the schemas of Kubernetes, each other, and the programs they run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from micro._program.stopping import GRACE
from micro.testing import NatsServer, free_port, nats_server

ROOT = Path(__file__).parents[1]
MANIFESTS = [
    manifest
    for path in sorted((ROOT / "k8s").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
VALUES = yaml.safe_load((ROOT / "k8s" / "nats" / "values.yaml").read_text())
FOREIGN = "monitoring.coreos.com/v1"
"""Not of Kubernetes itself, so that there is no schema for it."""
DEPLOYMENTS = ("shop", "micro-exporter")
LEAST = """
authorization { users = [{
  user: exporter, password: exporter
  permissions { publish { allow: ["$SRV.STATS"] }, subscribe { allow: ["_INBOX.>"] } }
}] }
"""


def identify(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def find(kind: str, name: str) -> Any:
    (found,) = (m for m in MANIFESTS if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def container(name: str) -> Any:
    (found,) = find("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", ["1.28", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "manifest", [m for m in MANIFESTS if m["apiVersion"] != FOREIGN], ids=identify
)
def test_manifests_fit_the_schemas(manifest: dict[str, Any], version: str) -> None:
    used = kubernetes_validate.validate(manifest, version, strict=True)
    assert version.startswith(used)


def test_schemas_refuse_what_is_wrong() -> None:
    """Strictly: a misspelt field is not passed over."""
    wrong = {**find("PodDisruptionBudget", "shop"), "spec": {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="maxUnavailible"):
        kubernetes_validate.validate(wrong, "1.28", strict=True)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pods_are_selected_by_their_labels(name: str) -> None:
    deployment = find("Deployment", name)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [deployment["selector"]["matchLabels"]]
    if name == "shop":
        selectors.append(find("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"])
        selectors.append(find("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"])
        (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
        selectors.append(spread["labelSelector"]["matchLabels"])
    else:
        selectors.append(find("Service", name)["spec"]["selector"])
    assert selectors == [labels] * len(selectors)


def test_autoscaler_scales_the_deployment_that_leaves_replicas_to_it() -> None:
    scaler, deployment = find("HorizontalPodAutoscaler", "shop"), find("Deployment", "shop")
    assert scaler["spec"]["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]
    assert "cpu" in container("shop")["resources"]["requests"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_credentials_are_mounted_from_the_secret(name: str) -> None:
    pod = find("Deployment", name)["spec"]["template"]["spec"]
    environment = {item["name"]: item["value"] for item in container(name)["env"]}
    (mount,) = container(name)["volumeMounts"]
    (volume,) = pod["volumes"]
    secret = find("Secret", volume["secret"]["secretName"])
    (key,) = secret["stringData"]
    assert volume["name"] == mount["name"]
    assert environment["NATS_CREDS"] == f"{mount['mountPath']}/{key}"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_node_of_the_chart_is_named(name: str) -> None:
    environment = {item["name"]: item["value"] for item in container(name)["env"]}
    replicas = VALUES["config"]["cluster"]["replicas"]
    nodes = [f"nats://nats-{number}.nats-headless:4222" for number in range(replicas)]
    assert environment["NATS_URL"].split(",") == nodes


def test_image_has_the_extras_that_exist() -> None:
    image = (ROOT / "k8s" / "Dockerfile").read_text()
    (named,) = re.findall(r"natsmicro\[([\w,-]+)\]", image)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cli", "nkeys", "prometheus"} <= set(named.split(","))
    assert set(named.split(",")) <= set(project["optional-dependencies"])


def test_pod_has_longer_than_its_handlers() -> None:
    pod = find("Deployment", "shop")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= GRACE + 5


def test_monitor_finds_the_port_of_the_exporter() -> None:
    monitor, service = find("ServiceMonitor", "micro-exporter"), find("Service", "micro-exporter")
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    (of_container,) = container("micro-exporter")["ports"]
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert (endpoint["port"], port["targetPort"]) == (port["name"], of_container["name"])


@contextmanager
def running(name: str, server: NatsServer, folder: Path) -> Iterator[tuple[Any, int]]:
    """Run what the container of a Deployment runs, at a free port instead of its own."""
    (of_container,) = container(name)["ports"]
    port = free_port()
    own = f":{of_container['containerPort']}"
    assert container(name)["command"] == ["micro"]
    assert own in container(name)["args"]
    arguments = [f"127.0.0.1:{port}" if a == own else a for a in container(name)["args"]]
    shutil.copy(ROOT / "examples" / "typed.py", folder / "app.py")
    program = subprocess.Popen(
        [sys.executable, "-m", "micro.cli", *arguments],
        cwd=folder,
        env={**os.environ, "NATS_URL": server.url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield program, port
    finally:
        program.kill()
        program.wait()


def answered(port: int, path: str) -> str:
    """Return what is answered with 200, once it is."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with (
            suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer,
        ):
            return str(answer.read().decode())
        time.sleep(0.05)
    raise AssertionError(f"nothing at {path}")


def test_container_of_the_service_passes_its_probes_and_ends(
    server: NatsServer, tmp_path: Path
) -> None:
    with running("shop", server, tmp_path) as (program, port):
        (of_container,) = container("shop")["ports"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            where = container("shop")[probe]["httpGet"]
            assert where["port"] == of_container["name"]
            assert '"status": "ok"' in answered(port, where["path"])
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0


def test_container_of_the_exporter_has_metrics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With no more rights than its Secret is said to need."""
    monkeypatch.setenv("NATS_USER", "exporter")
    monkeypatch.setenv("NATS_PASSWORD", "exporter")
    with (
        nats_server(config=LEAST) as server,
        running("micro-exporter", server, tmp_path) as (program, port),
    ):
        assert "micro_discovery_up 1.0" in answered(port, "/metrics")
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
