"""The error of an import whose extra is not installed."""

from __future__ import annotations


def missing(error: ModuleNotFoundError, module: str, extra: str) -> ModuleNotFoundError:
    """Return the error of a module that needs an extra, in one line."""
    reason = f"{module} needs the extra {extra!r}: pip install 'natsmicro[{extra}]'"
    return ModuleNotFoundError(reason, name=error.name)
