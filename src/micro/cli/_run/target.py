"""The setup function of `micro run`, named as `module:attribute`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from micro._errors import ConfigError
from micro._program.setups import Setup, declared_setup


def load_setup(target: str) -> Setup:
    """Import the setup function that `module:attribute` names, the current folder first.

    The attribute (dots are allowed) is an `async` function of the context, or a plain function
    without required parameters that returns one, or a declared service or a list of them, which
    are added.

    Raises:
        ConfigError: The module or attribute is missing, or is not such a function.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        likely = module_name.removesuffix(".py").replace(os.sep, ".").strip(".") or "app"
        raise ConfigError(
            f"invalid target {target!r}: expected module:setup, such as {likely}:setup"
        )
    if module_name.endswith(".py") or os.sep in module_name:
        raise ConfigError(
            f"invalid target {target!r}: expected a module name as in an import, not a file"
        )
    value = _import(module_name)
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise ConfigError(f"invalid target {target!r}: {name!r} is not defined there")
        value = getattr(value, name)
    return _as_setup(value, target)


def _import(name: str) -> Any:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Another missing module is a fault of the program, and the traceback says where.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"no module {error.name!r} in {folder!r} nor among the installed ones"
        ) from None


def _as_setup(value: Any, target: str) -> Setup:
    declared = declared_setup(value)
    if declared is not None:
        return declared
    setup = value
    if callable(value) and not _is_async(value) and _takes(value, 0):
        setup = value()
    if not callable(setup) or not _is_async(setup):
        raise ConfigError(
            f"invalid target {target!r}: expected an async function of the context, "
            "a function without parameters that returns one, or declared services"
        )
    if not _takes(setup, 1):
        raise ConfigError(f"invalid target {target!r}: expected one parameter, the context")
    checked: Setup = setup
    return checked


def _is_async(value: Any) -> bool:
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)


def _takes(value: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(value).bind(*[None] * count)
    except TypeError:
        return False
    return True
