// Command peer is the counterpart of our Python package that is written with the reference
// implementation, nats.go's micro package: "peer serve URL" offers a service until its standard
// input ends, "peer call URL NAME" finds and calls one and prints what it saw as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: peer serve URL | peer call URL NAME")
	}
	nc, err := nats.Connect(args[1])
	if err != nil {
		return err
	}
	defer nc.Close()
	if args[0] == "serve" {
		return serve(nc)
	}
	return call(nc, args[2])
}

func print(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
