"""The public module of published names."""

from __future__ import annotations

from typing import Any


def publish(*published: Any) -> None:
    """Have published classes and functions name `micro` as their module.

    Tracebacks, reprs and pickles then say what users import. The modules that `micro` imports only
    when they are needed call it themselves.
    """
    for each in published:
        if getattr(each, "__module__", "").startswith("micro._"):
            each.__module__ = "micro"
