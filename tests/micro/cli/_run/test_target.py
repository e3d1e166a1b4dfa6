"""The targets of `micro run`, and the errors of invalid ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro._errors import ConfigError
from micro.cli._run.target import load_setup

MODULE = """
async def setup(ctx): ...
async def no_context(): ...
def plain(ctx): ...
def make(): return setup
class Needs:
    def __init__(self, *, value): ...
class Apps:
    make = staticmethod(make)
class Setup:
    async def __call__(self, ctx): ...
instance = Setup()
"""


DECLARED = """
import micro
shop = micro.service("shop", "1.0.0")
@shop.endpoint
async def place(order: str) -> int: ...
@micro.service("shop", "1.0.0")
class Shop:
    @micro.endpoint
    async def place(self, order: str) -> int: ...
instance = Shop()
several = [shop, instance]
none = []
mixed = [shop, 1]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "target_app.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "target_app", raising=False)
    return tmp_path


@pytest.mark.parametrize("attribute", ["setup", "make", "Apps.make"])
def test_a_setup_function_or_what_returns_it(attribute: str) -> None:
    assert load_setup(f"target_app:{attribute}").__name__ == "setup"


@pytest.mark.parametrize("attribute", ["instance", "Setup"])
def test_an_object_that_is_called_like_one(attribute: str) -> None:
    assert type(load_setup(f"target_app:{attribute}")).__name__ == "Setup"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("app", "invalid target 'app': expected module:setup, such as app:setup"),
        (
            "shop/app.py",
            "invalid target 'shop/app.py': expected module:setup, such as shop.app:setup",
        ),
        (":setup", "invalid target ':setup': expected module:setup, such as app:setup"),
        (
            "app.py:setup",
            "invalid target 'app.py:setup': expected a module name as in an import, not a file",
        ),
        ("none_such:setup", "no module 'none_such' in {folder} nor among the installed ones"),
        ("target_app:none", "invalid target 'target_app:none': 'none' is not defined there"),
        (
            "target_app:plain",
            "invalid target 'target_app:plain': expected an async function of the context, "
            "a function without parameters that returns one, or declared services",
        ),
        (
            "target_app:Needs",
            "invalid target 'target_app:Needs': expected an async function of the context, "
            "a function without parameters that returns one, or declared services",
        ),
        (
            "target_app:no_context",
            "invalid target 'target_app:no_context': expected one parameter, the context",
        ),
    ],
)
def test_anything_else_is_refused_in_one_line(target: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_setup(target)

    assert str(caught.value) == message.replace("{folder}", repr(str(folder)))


@pytest.mark.parametrize("attribute", ["shop", "Shop", "Shop()"])
async def test_declared_service_is_added(attribute: str, folder: Path, nc: NatsClient) -> None:
    (folder / "target_app.py").write_text(DECLARED)
    setup = load_setup(f"target_app:{attribute.replace('Shop()', 'instance')}")
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        await setup(ctx)
        (service,) = ctx.services
        assert [each.name for each in service.info().endpoints] == ["place"]


async def test_each_declared_service_of_a_list_is_added(folder: Path, nc: NatsClient) -> None:
    (folder / "target_app.py").write_text(DECLARED)
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        await load_setup("target_app:several")(ctx)
        assert [service.name for service in ctx.services] == ["shop", "shop"]


@pytest.mark.parametrize("attribute", ["none", "mixed"])
def test_list_with_other_values_is_refused(attribute: str, folder: Path) -> None:
    (folder / "target_app.py").write_text(DECLARED)
    with pytest.raises(ConfigError, match=r"invalid services .*declared by micro\.service"):
        load_setup(f"target_app:{attribute}")
