// nats.go's micro. usage: peer service URL SUBJECT [echo|sleep] | peer client URL SUBJECT CONCURRENCY SECONDS
package main

import (
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func must[T any](found T, err error) T {
	if err != nil {
		panic(err)
	}
	return found
}

func cpu() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func serve(nc *nats.Conn, subject string, pause time.Duration) {
	service := must(micro.AddService(nc, micro.Config{Name: "bench", Version: "1.0.0"}))
	echo := micro.HandlerFunc(func(request micro.Request) { _ = request.Respond(request.Data()) })
	if pause > 0 { // a goroutine for each request, else they run one after the other
		echo = func(request micro.Request) {
			go func() {
				time.Sleep(pause)
				_ = request.Respond(request.Data())
			}()
		}
	}
	if err := service.AddEndpoint("bench", echo, micro.WithEndpointSubject(subject)); err != nil {
		panic(err)
	}
	select {}
}

func ask(nc *nats.Conn, subject string, concurrency int, seconds float64) {
	var count atomic.Int64
	var wait sync.WaitGroup
	data := make([]byte, 64)
	began, used := time.Now(), cpu()
	end := began.Add(time.Duration(seconds * float64(time.Second)))
	for range concurrency {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for time.Now().Before(end) {
				must(nc.Request(subject, data, 5*time.Second))
				count.Add(1)
			}
		}()
	}
	wait.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"rate":    float64(count.Load()) / time.Since(began).Seconds(),
		"cpu_us": (cpu() - used) / float64(count.Load()) * 1e6,
	})
}

func main() {
	nc := must(nats.Connect(os.Args[2]))
	if os.Args[1] == "service" {
		pause := time.Duration(0)
		if len(os.Args) > 4 && os.Args[4] == "sleep" {
			pause = 10 * time.Millisecond
		}
		serve(nc, os.Args[3], pause)
	}
	ask(nc, os.Args[3], must(strconv.Atoi(os.Args[4])), must(strconv.ParseFloat(os.Args[5], 64)))
}
