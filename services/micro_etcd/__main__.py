"""`python -m micro_etcd`: serve etcd to the callers of a NATS server."""

import argparse
import asyncio
import logging
from pathlib import Path

import micro
from micro import ConfigError, Context, options
from micro_etcd._service.config import EtcdServiceSettings
from micro_etcd._service.service import Setup, serve, setup_embedded
from micro_etcd.errors import EtcdError

EXAMPLES = """\
configuration file (TOML):

  [etcd]
  endpoints = ["10.0.0.1:2379", "10.0.0.2:2379"]
  user = "micro"                 # with ETCD_PASSWORD or password_file
  ca = "/etc/etcd/ca.pem"

  [namespaces.settings]          # subjects etcd.settings.kv.get, ...
  prefix = "/settings/"
  allow = ["read"]               # get list put delete txn lease lock watch status; read write all

  [namespaces.billing]
  prefix = "/billing/"
  allow = ["all"]

environment, which wins over the file:

  NATS_URL, NATS_CREDS, ...      the connection to NATS, like every micro program
  ETCD_ENDPOINTS, ETCD_USER, ETCD_PASSWORD, ETCD_PASSWORD_FILE, ETCD_CA, ETCD_CERT, ETCD_KEY
  ETCD_NAMESPACES                token=prefix:right+right, several separated by blanks

examples:

  {prog} --config etcd.toml
  {prog} --config etcd.toml --check
  ETCD_NAMESPACES='app=/app/:read+write' {prog} --server nats://localhost:4222
  {prog} --embedded          # a new etcd with the namespace 'demo', for trials

  nats request etcd.app.kv.put '{"key": "color", "value": "blue"}'
  nats request etcd.app.kv.get '{"key": "color"}'
"""


ERRORS = (micro.MicroError, EtcdError, FileNotFoundError)
"""Errors that end the program with one line."""


def parser(prog: str, *, standalone: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the settings of the service.

    Args:
        prog: The name of the command.
        standalone: Whether the command has no flags of its own for the connection and the log.
    """
    commands = argparse.ArgumentParser(
        prog=prog,
        description="Serve etcd to the callers of a NATS server, namespace by namespace.",
        epilog=EXAMPLES.replace("{prog}", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands.add_argument("--config", type=Path, metavar="FILE", help="configuration file (TOML)")
    commands.add_argument(
        "--embedded", action="store_true", help="start an etcd of its own, with a namespace 'demo'"
    )
    commands.add_argument("--check", action="store_true", help="check the configuration and end")
    if standalone:
        commands.add_argument("--server", metavar="URL", help="NATS server; by default NATS_URL")
        commands.add_argument("--verbose", action="store_true", help="log what happens")
    return commands


def prepare(given: argparse.Namespace) -> Setup:
    """Return the setup function of the flags that were given; end if they only ask for a check.

    Raises:
        ArgumentError: Two flags contradict each other.
        ConfigError: The configuration is not acceptable.
    """
    if given.embedded and (given.config is not None or given.check):
        reason = "--embedded is configured already: it goes with neither --config nor --check"
        raise argparse.ArgumentError(None, reason)
    if given.embedded:
        return setup_embedded
    settings = EtcdServiceSettings.load(given.config)
    if not settings.namespaces:
        raise ConfigError("no namespace is configured, so nobody could do anything: see --help")
    if given.check:
        print(f"ok: {len(settings.namespaces)} namespaces")
        raise SystemExit(0)
    return serve(settings)


async def main(setup: Setup, server: str | None) -> None:
    """Serve until a signal comes."""

    async def start(ctx: Context) -> None:
        await setup(ctx)
        print("etcd service is running; Ctrl-C stops", flush=True)

    to = () if server is None else (options.servers(server),)
    await Context().run_forever(start, *to, trap_signals=True)


if __name__ == "__main__":
    command = parser("python -m micro_etcd", standalone=True)
    given = command.parse_args()
    logging.basicConfig(level=logging.INFO if given.verbose else logging.WARNING)
    try:
        asyncio.run(main(prepare(given), given.server))
    except argparse.ArgumentError as error:
        command.error(str(error))
    except ERRORS as error:
        raise SystemExit(f"micro_etcd: {error}") from error
