"""The errors of micro.

MicroError
└── ConfigError (ValueError)           a declaration is wrong: raised where it is made
"""

from __future__ import annotations


class MicroError(Exception):
    """Base class of every error that micro raises by itself."""


class ConfigError(MicroError, ValueError):
    """A name, subject, option or handler is not acceptable."""
