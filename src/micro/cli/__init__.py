"""The command `micro`: run services, inspect them, send requests to them."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process."""
    try:
        from micro.cli._app import app
        from micro.cli._completion import words_of_bash
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("micro: the command line needs the extra 'cli': pip install 'natsmicro[cli]'")
    with words_of_bash(os.environ):
        app(prog_name="micro")
