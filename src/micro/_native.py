"""The choice between Python classes and their accelerated forms in `natsmicro-native`.

The Python class is the specification: the accelerated one has its name and its interface. The
choice holds for the whole process, and is made when `micro` is imported.
"""

from __future__ import annotations

import importlib
import logging
import os
from abc import ABCMeta
from types import ModuleType
from typing import NamedTuple, TypeVar

from micro._errors import ConfigError

logger = logging.getLogger("micro.native")

VARIABLE = "MICRO_NATIVE"

VERSION = "0.1"
"""The versions of `natsmicro-native` that have these interfaces: this one and its patches."""

C = TypeVar("C", bound=type)

specification: dict[str, type] = {}
"""The Python classes that have accelerated forms, by name."""


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


def accelerated(specified: C) -> C:
    """Return the accelerated form of a class, the class itself without one."""
    specification[specified.__name__] = specified
    native: C | None = getattr(choice.module, specified.__name__, None)
    if native is None:
        return specified
    native.__doc__ = specified.__doc__
    for base in specified.__mro__[1:-1]:
        if isinstance(base, ABCMeta):
            base.register(native)
        for name, value in vars(base).items():
            if not hasattr(native, name):
                setattr(native, name, value)
    return native


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
