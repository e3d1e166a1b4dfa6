package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const timeout = 5 * time.Second

// answer is one reply to a request, its headers without those that say it is an error.
type answer struct {
	Data        string            `json:"data"`
	Headers     map[string]string `json:"headers"`
	Code        string            `json:"code"`
	Description string            `json:"description"`
}

func call(nc *nats.Conn, name string) error {
	seen := map[string]any{}
	for key, request := range map[string]*nats.Msg{
		"echo":   {Subject: "interop.echo", Data: []byte("hello"), Header: nats.Header{"X-Trace": {"t-1"}}},
		"add":    {Subject: "math.v1.add", Data: []byte(`{"a": 19, "b": 23}`)},
		"bad":    {Subject: "math.v1.add", Data: []byte(`{"a": "nineteen"}`)},
		"refuse": {Subject: "refuse"},
		"crash":  {Subject: "crash"},
	} {
		reply, err := nc.RequestMsg(request, timeout)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		seen[key] = read(reply)
	}
	if err := discover(nc, name, seen); err != nil {
		return err
	}
	return print(seen)
}

func read(reply *nats.Msg) answer {
	found := answer{Data: string(reply.Data), Headers: map[string]string{}}
	for key := range reply.Header {
		found.Headers[key] = reply.Header.Get(key)
	}
	found.Code, found.Description = found.Headers[micro.ErrorCodeHeader], found.Headers[micro.ErrorHeader]
	delete(found.Headers, micro.ErrorCodeHeader)
	delete(found.Headers, micro.ErrorHeader)
	return found
}

// discover asks for PING, INFO and STATS at all three levels.
func discover(nc *nats.Conn, name string, seen map[string]any) error {
	var ping micro.Ping
	if err := ask(nc, micro.PingVerb, name, "", &ping); err != nil {
		return err
	}
	for level, scope := range map[string][2]string{"all": {"", ""}, "name": {name, ""}, "id": {name, ping.ID}} {
		var ping micro.Ping
		var info micro.Info
		var stats micro.Stats
		if err := ask(nc, micro.PingVerb, scope[0], scope[1], &ping); err != nil {
			return err
		}
		if err := ask(nc, micro.InfoVerb, scope[0], scope[1], &info); err != nil {
			return err
		}
		if err := ask(nc, micro.StatsVerb, scope[0], scope[1], &stats); err != nil {
			return err
		}
		seen[level] = map[string]any{"ping": ping, "info": info, "stats": stats}
	}
	return nil
}

// ask decodes the first answer into a struct of the micro package, without tolerance for other fields.
func ask(nc *nats.Conn, verb micro.Verb, name, id string, into any) error {
	subject, err := micro.ControlSubject(verb, name, id)
	if err != nil {
		return err
	}
	reply, err := nc.Request(subject, nil, timeout)
	if err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(reply.Data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	return nil
}
