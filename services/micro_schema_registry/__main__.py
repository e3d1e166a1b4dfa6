"""The schema registry as a NATS service: `python -m micro_schema_registry --help`."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import micro
from micro_schema_registry import EmbeddedRegistry, RegistryError
from micro_schema_registry._service.backends import setup
from micro_schema_registry._service.config import BACKENDS, SETTINGS, ServiceConfig

_EXAMPLES = """\
examples:
  {prog}
      schemas in a JetStream bucket of the server in NATS_URL, or of 127.0.0.1:4222
  {prog} --url http://registry:8080/apis/registry/v3
      schemas in an Apicurio Registry, answered from memory where that is safe
  REGISTRY_GROUP=acme REGISTRY_SERVE_STALE=true {prog} --replicas 3
      other subjects, stale answers rather than none, a bucket with three copies

Every setting is a flag or a variable: --latest-ttl is REGISTRY_LATEST_TTL. The flag wins.
NATS_URL, NATS_CREDS and the other variables of micro configure the connection.

try it:
  nats request registry.v1.info ''
  nats request registry.v1.get '{{"group": "default", "artifact": "user"}}'
"""


CONNECTION_FLAGS = ("password", "timeout")
"""Settings whose names are flags of the NATS connection in `micro registry`."""

ERRORS = (RegistryError, ValueError)
"""Errors that end the program with one line."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal; print one line to standard error if that fails."""
    given = parser("python -m micro_schema_registry", standalone=True).parse_args(arguments)
    logging.basicConfig(level=given.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    options = [] if given.server is None else [micro.options.servers(*given.server.split(","))]
    try:
        micro.run(prepare(given), *options, trap_signals=True)
    except ERRORS as error:
        sys.exit(f"micro_schema_registry: {error}")


def prepare(given: argparse.Namespace) -> Callable[[micro.Context], Coroutine[Any, Any, None]]:
    """Return the setup function of the flags that were given; the environment has the rest.

    Raises:
        ValueError: A setting is not acceptable.
    """
    flags = {f"REGISTRY_{name.upper()}": getattr(given, name) for name in SETTINGS}
    chosen = {name: text for name, text in flags.items() if text is not None}
    config = ServiceConfig.from_environment({**os.environ, **chosen})

    async def start(ctx: micro.Context) -> None:
        if given.skip_ids_to is not None:
            await _skip_ids(ctx, config, given.skip_ids_to)
            return
        await setup(ctx, config)
        logging.getLogger("micro.registry").info(
            "serving %s.> from %s", config.options.group, config.url or f"bucket {config.bucket}"
        )

    return start


async def _skip_ids(ctx: micro.Context, config: ServiceConfig, up_to: int) -> None:
    registry = EmbeddedRegistry(ctx.client, "default", bucket=config.bucket)
    print(f"ids of bucket {config.bucket} go on after {await registry.skip_ids(up_to)}")
    ctx.cancel()


def parser(prog: str, *, standalone: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the settings of the service.

    Args:
        prog: The name of the command.
        standalone: Whether the command has no flags of its own for the connection and the log.
    """
    commands = argparse.ArgumentParser(
        prog=prog,
        description="The schema registry as a NATS service, on JetStream or over Apicurio.",
        epilog=_EXAMPLES.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if standalone:
        commands.add_argument("--server", metavar="URL", help="NATS servers, separated by commas")
        levels = ["debug", "info", "warning", "error"]
        commands.add_argument("--log-level", default="info", choices=levels)
    commands.add_argument(
        "--skip-ids-to",
        metavar="ID",
        type=int,
        help="use up the ids of the bucket up to this one and end; after restoring a backup",
    )
    for name, (kind, line) in SETTINGS.items():
        taken = not standalone and name in CONNECTION_FLAGS
        flag = ("--registry-" if taken else "--") + name.replace("_", "-")
        if kind is bool:
            commands.add_argument(flag, action="store_const", const="true", help=line, dest=name)
        else:
            choices = BACKENDS if name == "backend" else None
            metavar = None if choices else kind.__name__.upper()
            commands.add_argument(flag, dest=name, help=line, choices=choices, metavar=metavar)
    return commands


if __name__ == "__main__":
    main()
