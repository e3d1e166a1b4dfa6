"""The command `micro`: run services, inspect them, send requests to them."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process."""
    try:
        from micro.cli._app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("micro: the command line needs the extra 'cli': pip install 'natsmicro[cli]'")
    app(prog_name="micro")
