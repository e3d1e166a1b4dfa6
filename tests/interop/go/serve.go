package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func serve(nc *nats.Conn) error {
	service, err := micro.AddService(nc, micro.Config{
		Name:        "interop",
		Version:     "2.1.0-rc.1+build.7",
		Description: "What every peer offers",
		Metadata:    map[string]string{"peer": "go"},
		StatsHandler: func(endpoint *micro.Endpoint) any {
			return map[string]any{"about": endpoint.Name, "load": 0.5}
		},
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			fmt.Fprintln(os.Stderr, err)
		},
	})
	if err != nil {
		return err
	}
	if err := addEndpoints(service); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	if err := print(map[string]string{"id": service.Info().ID}); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return service.Stop()
}

func addEndpoints(service micro.Service) error {
	kind := micro.WithEndpointMetadata(map[string]string{"kind": "raw"})
	err := service.AddEndpoint("echo", micro.HandlerFunc(echo), micro.WithEndpointSubject("interop.echo"), kind)
	if err != nil {
		return err
	}
	if err := service.AddEndpoint("refuse", micro.HandlerFunc(refuse)); err != nil {
		return err
	}
	if err := service.AddEndpoint("every", micro.HandlerFunc(echo), micro.WithEndpointQueueGroupDisabled()); err != nil {
		return err
	}
	group := service.AddGroup("math", micro.WithGroupQueueGroup("calc")).AddGroup("v1")
	return group.AddEndpoint("add", micro.HandlerFunc(add))
}

func echo(request micro.Request) {
	report(request.Respond(request.Data(), micro.WithHeaders(request.Headers())))
}

func refuse(request micro.Request) {
	headers := micro.WithHeaders(micro.Headers{"Retry-After": {"7"}})
	report(request.Error("418", "I'm a teapot", []byte("short and stout"), headers))
}

func add(request micro.Request) {
	var pair struct{ A, B *int }
	if json.Unmarshal(request.Data(), &pair) != nil || pair.A == nil || pair.B == nil {
		report(request.Error("400", "expected two integers", request.Data()))
		return
	}
	report(request.RespondJSON(*pair.A + *pair.B))
}

func report(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
