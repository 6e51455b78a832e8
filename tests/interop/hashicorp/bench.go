package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

func cpu() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// measure prints CPU microseconds, both ends in this process on an in-memory pipe: of one request (1,000
// bytes asked, 300 answered) on 64 streams, and of one megabyte on one stream.
func measure(requests int, megabytes int) {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	config.EnableKeepAlive = false
	a, b := net.Pipe()
	client, err := yamux.Client(a, config)
	must(err)
	server, err := yamux.Server(b, config)
	must(err)
	go func() {
		for {
			st, err := server.AcceptStream()
			if err != nil {
				return
			}
			go func() {
				first := make([]byte, 1)
				if _, err := io.ReadFull(st, first); err != nil {
					return
				}
				if first[0] == 'S' {
					io.Copy(io.Discard, st)
					st.Close()
					return
				}
				question, answer := make([]byte, 1000), make([]byte, 300)
				for {
					if _, err := io.ReadFull(st, question); err != nil {
						return
					}
					st.Write(answer)
				}
			}()
		}
	}()
	const streams = 64
	opened := make([]*yamux.Stream, streams)
	for i := range opened {
		opened[i], err = client.OpenStream()
		must(err)
		opened[i].Write([]byte{'A'})
	}
	begun := cpu()
	var done sync.WaitGroup
	for _, st := range opened {
		done.Add(1)
		go func(st *yamux.Stream) {
			defer done.Done()
			question, answer := make([]byte, 1000), make([]byte, 300)
			for i := 0; i < requests/streams; i++ {
				st.Write(question)
				_, err := io.ReadFull(st, answer)
				must(err)
			}
		}(st)
	}
	done.Wait()
	request := float64((cpu() - begun).Nanoseconds()) / 1e3 / float64(requests/streams*streams)
	st, err := client.OpenStream()
	must(err)
	st.Write([]byte{'S'})
	block := make([]byte, 65536)
	begun = cpu()
	for sent := 0; sent < megabytes*1_000_000; sent += len(block) {
		_, err := st.Write(block)
		must(err)
	}
	must(st.Close())
	io.ReadAll(st)
	bulk := float64((cpu() - begun).Nanoseconds()) / 1e3 / float64(megabytes)
	json.NewEncoder(os.Stdout).Encode(map[string]float64{"request": request, "bulk": bulk})
}
