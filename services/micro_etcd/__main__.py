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

  python -m micro_etcd --config etcd.toml
  python -m micro_etcd --config etcd.toml --check
  ETCD_NAMESPACES='app=/app/:read+write' python -m micro_etcd --server nats://localhost:4222
  python -m micro_etcd --embedded          # a new etcd with the namespace 'demo', for trials

  nats request etcd.app.kv.put '{"key": "color", "value": "blue"}'
  nats request etcd.app.kv.get '{"key": "color"}'
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    commands = argparse.ArgumentParser(
        prog="python -m micro_etcd",
        description="Serve etcd to the callers of a NATS server, namespace by namespace.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands.add_argument("--config", type=Path, metavar="FILE", help="configuration file (TOML)")
    commands.add_argument("--server", metavar="URL", help="NATS server; by default NATS_URL")
    commands.add_argument(
        "--embedded", action="store_true", help="start an etcd of its own, with a namespace 'demo'"
    )
    commands.add_argument("--check", action="store_true", help="check the configuration and end")
    commands.add_argument("--verbose", action="store_true", help="log what happens")
    return commands


async def main(given: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    to = () if given.server is None else (options.servers(given.server),)
    setup: Setup = setup_embedded
    if not given.embedded:
        settings = EtcdServiceSettings.load(given.config)
        if not settings.namespaces:
            raise ConfigError("no namespace is configured, so nobody could do anything: see --help")
        if given.check:
            print(f"ok: {len(settings.namespaces)} namespaces")
            return
        setup = serve(settings)

    async def start(ctx: Context) -> None:
        await setup(ctx)
        print("etcd service is running; Ctrl-C stops", flush=True)

    await Context().run_forever(start, *to, trap_signals=True)


if __name__ == "__main__":
    command = parser()
    given = command.parse_args()
    if given.embedded and (given.config is not None or given.check):
        command.error("--embedded is configured already: it goes with neither --config nor --check")
    logging.basicConfig(level=logging.INFO if given.verbose else logging.WARNING)
    try:
        asyncio.run(main(given))
    except (micro.MicroError, EtcdError, FileNotFoundError) as error:
        raise SystemExit(f"micro_etcd: {error}") from error
