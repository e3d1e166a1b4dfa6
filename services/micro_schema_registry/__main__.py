"""The schema registry as a NATS service: `python -m micro_schema_registry --help`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import micro
from micro_schema_registry import EmbeddedRegistry, RegistryError
from micro_schema_registry._service.backends import setup
from micro_schema_registry._service.config import BACKENDS, SETTINGS, ServiceConfig

_EXAMPLES = """\
examples:
  python -m micro_schema_registry
      schemas in a JetStream bucket of the server in NATS_URL, or of 127.0.0.1:4222
  python -m micro_schema_registry --url http://registry:8080/apis/registry/v3
      schemas in an Apicurio Registry, answered from memory where that is safe
  REGISTRY_GROUP=acme REGISTRY_SERVE_STALE=true python -m micro_schema_registry --replicas 3
      other subjects, stale answers rather than none, a bucket with three copies

Every setting is a flag or a variable: --latest-ttl is REGISTRY_LATEST_TTL. The flag wins.
NATS_URL, NATS_CREDS and the other variables of micro configure the connection.

try it:
  nats request registry.v1.info ''
  nats request registry.v1.get '{"group": "default", "artifact": "user"}'
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal; print one line to standard error if that fails."""
    given = vars(_parser().parse_args(arguments))
    server, skip_to = given.pop("server"), given.pop("skip_ids_to")
    logging.basicConfig(
        level=given.pop("log_level").upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        config = ServiceConfig.from_environment({**os.environ, **_as_variables(given)})
    except ValueError as error:
        sys.exit(f"micro_schema_registry: {error}")

    async def start(ctx: micro.Context) -> None:
        if skip_to is not None:
            await _skip_ids(ctx, config, skip_to)
            return
        await setup(ctx, config)
        logging.getLogger("micro.registry").info(
            "serving %s.> from %s", config.options.group, config.url or f"bucket {config.bucket}"
        )

    options = [] if server is None else [micro.options.servers(*server.split(","))]
    try:
        micro.run(start, *options, trap_signals=True)
    except (RegistryError, ValueError) as error:
        sys.exit(f"micro_schema_registry: {error}")


async def _skip_ids(ctx: micro.Context, config: ServiceConfig, up_to: int) -> None:
    registry = EmbeddedRegistry(ctx.client, "default", bucket=config.bucket)
    print(f"ids of bucket {config.bucket} go on after {await registry.skip_ids(up_to)}")
    ctx.cancel()


def _as_variables(given: dict[str, str | None]) -> dict[str, str]:
    return {f"REGISTRY_{name.upper()}": text for name, text in given.items() if text is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m micro_schema_registry",
        description="The schema registry as a NATS service, on JetStream or over Apicurio.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--server", metavar="URL", help="NATS servers, separated by commas")
    parser.add_argument(
        "--skip-ids-to",
        metavar="ID",
        type=int,
        help="use up the ids of the bucket up to this one and end; after restoring a backup",
    )
    for name, (kind, line) in SETTINGS.items():
        flag = "--" + name.replace("_", "-")
        if kind is bool:
            parser.add_argument(flag, action="store_const", const="true", help=line, dest=name)
        else:
            choices = BACKENDS if name == "backend" else None
            metavar = None if choices else kind.__name__.upper()
            parser.add_argument(flag, dest=name, help=line, choices=choices, metavar=metavar)
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return parser


if __name__ == "__main__":
    main()
