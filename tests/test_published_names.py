"""Published names carry the module that users import them from."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import traceback
from typing import Any, get_args

import pytest

import micro

PACKAGES = ["micro", "micro_http", "micro_schema_registry", "micro_etcd"]


def is_of_ours(package: str, name: str) -> bool:
    """Return whether a name is a class or function of ours, not an alias of something else."""
    value = getattr(importlib.import_module(package), name)
    return (
        getattr(value, "__qualname__", "") == name
        and not get_args(value)
        and value.__module__.startswith("micro")
    )


PUBLISHED = [
    pytest.param(package, name, id=f"{package}.{name}")
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if is_of_ours(package, name)
]


@pytest.mark.parametrize(("package", "name"), PUBLISHED)
def test_published_name_carries_its_public_module_and_can_be_pickled(
    package: str, name: str
) -> None:
    value = getattr(importlib.import_module(package), name)
    module = value.__module__
    assert not any(part.startswith("_") for part in module.split("."))
    assert getattr(importlib.import_module(module), value.__qualname__) is value
    assert pickle.loads(pickle.dumps(value)) is value
    if isinstance(value, type):
        assert repr(value) in (f"<class '{module}.{name}'>", f"<enum '{name}'>")


@pytest.mark.parametrize(
    "error",
    [
        micro.ServiceError(404, "gone", "a.b", b"why", {"A": "1"}),
        micro.PermissionDeniedError(("a",), "service 'a'"),
        micro.PayloadTooLargeError(2, 1),
        micro.IncompatibleContractError("s", "e.request", ("because",)),
        micro.ConfigError("wrong"),
    ],
)
def test_errors_survive_pickling_and_show_their_public_name(error: micro.MicroError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    shown = "".join(traceback.format_exception_only(error))
    assert shown == f"micro.{type(error).__name__}: {error}\n"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("_client.client", "Client"),
        ("_client.replies", "Until"),
        ("_protocol.models", "ServiceInfo"),
        ("_service.contracts", "ContractRegistry"),
    ],
)
def test_name_that_is_imported_late_carries_its_module_before_users_ask_for_it(
    module: str, name: str
) -> None:
    """A service answers with models that its program has never imported from micro."""
    program = f"from micro.{module} import {name}; print({name}.__module__)"
    shown = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert shown.stdout == "micro\n", shown.stderr


def test_models_survive_pickling() -> None:
    ping: Any = micro.PingInfo(name="a", id="1", version="1.0.0")
    assert pickle.loads(pickle.dumps(ping)) == ping
