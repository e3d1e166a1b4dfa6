"""The choice between Python classes and their accelerated forms in `natsmicro-native`.

The Python class is the specification: the accelerated one has its name and its interface. The
choice holds for the whole process, and is made when `micro` is imported.
"""

from __future__ import annotations

import importlib
import logging
import os
from abc import ABCMeta
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, TypeVar, cast

from micro._errors import ConfigError

logger = logging.getLogger("micro.native")

VARIABLE = "MICRO_NATIVE"

VERSION = "0.1"
"""The versions of `natsmicro-native` that have these interfaces: this one and its patches."""

T = TypeVar("T", bound=Any)

specification: dict[str, Any] = {}
"""The classes and functions in Python that may have accelerated forms, by name."""


class Choice(NamedTuple):
    """The outcome of the choice.

    Attributes:
        module: The accelerator; None when Python runs.
        description: The outcome in words, behind "the wire runs in".
        level: The level of its log line.
    """

    module: ModuleType | None
    description: str
    level: int = logging.DEBUG


def _choose() -> Choice:
    if os.environ.get(VARIABLE) == "0":
        return Choice(None, f"Python: {VARIABLE} is 0")
    try:
        module = importlib.import_module("natsmicro_native")
    except ModuleNotFoundError:
        return Choice(None, "Python: natsmicro-native is not installed")
    except ImportError as error:
        return Choice(
            None, f"Python: natsmicro-native cannot be loaded: {error}", level=logging.WARNING
        )
    version: str = module.__version__
    if version.rpartition(".")[0] != VERSION:
        unfit = f"Python: natsmicro-native is {version}, expected {VERSION}.*"
        return Choice(None, unfit, level=logging.WARNING)
    return Choice(module, f"natsmicro-native {version}")


choice = _choose()
logger.log(choice.level, "the wire runs in %s", choice.description)


def accelerated(specified: T) -> T:
    """Return the accelerated form of a class or function, the given one without it.

    An accelerated class has only the methods that gain from it: it gets the other ones here.
    """
    name = specified.__name__
    specification[name] = specified
    native: Any = getattr(choice.module, name, None)
    if isinstance(native, type):
        native.__doc__ = specified.__doc__
        _complete(native, specified.__mro__[:-1])
    return specified if native is None else cast(T, native)


def _complete(native: type, specified: tuple[type, ...]) -> None:
    for each in specified:
        for name, value in vars(each).items():
            missing = not name.startswith("__") and name not in vars(native)
            if missing and isinstance(value, FunctionType | classmethod | property):
                setattr(native, name, value)
        if isinstance(each, ABCMeta):
            each.register(native)


def check() -> None:
    """Check the environment variable.

    Raises:
        ConfigError: It has another value, or the accelerator is forced and cannot be used.
    """
    forced = os.environ.get(VARIABLE, "")
    if forced not in ("", "0", "1"):
        raise ConfigError(f"invalid {VARIABLE} {forced!r}: expected '0', '1' or nothing")
    if forced == "1" and choice.module is None:
        raise ConfigError(f"{VARIABLE}=1 is impossible: the wire runs in {choice.description}")
