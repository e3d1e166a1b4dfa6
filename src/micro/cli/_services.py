"""`micro registry` and `micro etcd`: the bundled services, with the flags of every command.

Their packages are imported only when a command runs, as `micro` depends on none of them. The module
`__main__` of each has `parser(prog)`, `prepare(given)` and `ERRORS`.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

import typer

from micro._errors import ConfigError, MicroError
from micro.cli._flags import Serving
from micro.cli._output import Exit, fail
from micro.cli._run.program import Program

# Flags of the service, and --help, go to its own parser.
SETTINGS: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},
    "add_help_option": False,
}


def registry(call: typer.Context, connection: Serving) -> None:
    """Run the schema registry as a NATS service.

    Its flags follow below with --help.

    Examples:
      micro registry --server nats://10.0.0.1:4222 --health :8080
      micro registry --url http://registry:8080/apis/registry/v3 --json
    """
    _serve("micro_schema_registry.__main__", Program("micro registry", connection), call)


def etcd(call: typer.Context, connection: Serving) -> None:
    """Serve etcd to the callers of a NATS server, namespace by namespace.

    Its flags follow below with --help.

    Examples:
      micro etcd --embedded
      micro etcd --config etcd.toml --server nats://10.0.0.1:4222 --health :8080
    """
    _serve("micro_etcd.__main__", Program("micro etcd", connection), call)


def _serve(module: str, program: Program, call: typer.Context) -> None:
    try:
        service = importlib.import_module(module)
    except ModuleNotFoundError as error:  # its message names the extra
        fail(str(error), Exit.USAGE, as_json=False)
    parser: argparse.ArgumentParser = service.parser(program.target)
    if {"-h", "--help"} & set(call.args):
        typer.echo(call.get_help())
        typer.echo(f"Flags of the service\n\n{parser.format_help()}")
        return
    given = parser.parse_args(call.args)
    program.configure_logging()
    try:
        program.serve(setup=service.prepare(given))
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except ConfigError as error:
        fail(str(error), Exit.USAGE, as_json=False)
    except (MicroError, *service.ERRORS) as error:
        fail(str(error), Exit.FAILED, as_json=False)
