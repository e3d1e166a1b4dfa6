"""The detection of handlers that return a value which no annotation declares."""

from __future__ import annotations

import dis
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

_MADE = ("BUILD_", "BINARY_", "COMPARE_", "CONTAINS_", "IS_", "UNARY_", "FORMAT_", "LIST_", "DICT_")
"""Instructions that make a value; a call is none of them, since it may return None."""

_OF_REQUESTS = ("data", "headers", "subject")
"""Methods of a request that never return None."""


def returns_a_value(handler: Callable[..., Any]) -> bool:
    """Return whether a function has a return statement whose value is never None.

    `return await request.respond(...)` has no such value, nor has any other call.
    """
    return isinstance(handler, FunctionType) and _returns_a_value(handler.__code__)


@lru_cache(maxsize=256)
def _returns_a_value(code: CodeType) -> bool:
    earlier: list[dis.Instruction] = []
    for each in dis.get_instructions(code):
        if each.opname == "RETURN_CONST" and each.argval is not None:  # Python 3.12 and 3.13
            return True
        if each.opname == "RETURN_VALUE" and _is_made(*earlier[-2:]):
            return True
        if each.opname != "PRECALL":  # Python 3.11
            earlier.append(each)
    return False


def _is_made(before: dis.Instruction, last: dis.Instruction) -> bool:
    if last.opname == "LOAD_CONST":
        return last.argval is not None
    if last.opname == "CALL" and last.arg == 0:
        return before.argval in _OF_REQUESTS
    return last.opname.startswith(_MADE)
