// HashiCorp's yamux as the other end: peer PORT client|server TASK.
// (peer bench REQUESTS MEGABYTES measures the library alone.) TASK serve answers what we open; the others open streams themselves and print one line of JSON.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The first byte of a stream says what to do with the rest.
func serve(session *yamux.Session, st *yamux.Stream) {
	command := make([]byte, 1)
	if _, err := io.ReadFull(st, command); err != nil {
		return
	}
	switch command[0] {
	case 'E': // echo
		io.Copy(st, st)
		st.Close()
	case 'S': // sink: how much came, and its digest
		digest := sha256.New()
		n, err := io.Copy(digest, st)
		must(err)
		fmt.Fprintf(st, "%d %s", n, hex.EncodeToString(digest.Sum(nil)))
		st.Close()
	case 'F': // flood until it is reset
		block := make([]byte, 65536)
		for {
			if _, err := st.Write(block); err != nil {
				return
			}
		}
	case 'R': // give up: close, and RST when the other side goes on (StreamCloseTimeout)
		st.Close()
	case 'G': // no new streams; old ones go on
		must(session.GoAway())
		io.Copy(st, st)
		st.Close()
	}
}

func streams(session *yamux.Session, count int) {
	var open, done sync.WaitGroup
	open.Add(count)
	done.Add(count)
	for i := 0; i < count; i++ {
		go func(i int) {
			st, err := session.OpenStream()
			must(err)
			message := bytes.Repeat([]byte{byte(i)}, 4096)
			_, err = st.Write(append([]byte{'E'}, message...))
			must(err)
			open.Done()
			open.Wait() // all are open at once
			got := make([]byte, len(message))
			_, err = io.ReadFull(st, got)
			must(err)
			if !bytes.Equal(got, message) {
				must(fmt.Errorf("stream %d: not what was sent", st.StreamID()))
			}
			must(st.Close())
			rest, err := io.ReadAll(st)
			must(err)
			if len(rest) != 0 {
				must(fmt.Errorf("stream %d: %d bytes too many", st.StreamID(), len(rest)))
			}
			done.Done()
		}(i)
	}
	done.Wait()
}

func bulk(session *yamux.Session, size int) string {
	st, err := session.OpenStream()
	must(err)
	_, err = st.Write([]byte{'S'})
	must(err)
	digest, block := sha256.New(), make([]byte, 65536)
	for sent := 0; sent < size; sent += len(block) {
		if left := size - sent; left < len(block) {
			block = block[:left]
		}
		for i := range block[:256] {
			block[i] = byte(sent>>16 + i)
		}
		digest.Write(block)
		_, err = st.Write(block)
		must(err)
	}
	must(st.Close())
	said, err := io.ReadAll(st)
	must(err)
	if want := fmt.Sprintf("%d %s", size, hex.EncodeToString(digest.Sum(nil))); string(said) != want {
		must(fmt.Errorf("sent %s, they got %s", want, said))
	}
	return string(said)
}

func main() {
	if os.Args[1] == "bench" {
		requests, err := strconv.Atoi(os.Args[2])
		must(err)
		megabytes, err := strconv.Atoi(os.Args[3])
		must(err)
		measure(requests, megabytes)
		return
	}
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	if os.Args[3] != "streams" { // there a busy machine may answer a FIN late; elsewhere the RST after it is what is looked at
		config.StreamCloseTimeout = 300 * time.Millisecond
	}
	if os.Getenv("BIG_WINDOW") != "" {
		config.MaxStreamWindowSize = 16 << 20
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+os.Args[1])
	must(err)
	make_session := yamux.Client
	if os.Args[2] == "server" {
		make_session = yamux.Server
	}
	session, err := make_session(conn, config)
	must(err)
	result := map[string]any{"ok": true}
	switch os.Args[3] {
	case "serve":
		for {
			st, err := session.AcceptStream()
			if err != nil {
				return
			}
			go serve(session, st)
		}
	case "streams":
		streams(session, 1000)
		rtt, err := session.Ping()
		must(err)
		result["ping"] = rtt.Microseconds()
	case "bulk":
		result["said"] = bulk(session, 100_000_000)
	case "reset": // gives up a flood in the middle; a second stream goes on
		flood, err := session.OpenStream()
		must(err)
		flood.Write([]byte{'F'})
		_, err = io.CopyN(io.Discard, flood, 1<<20)
		must(err)
		must(flood.Close())
		time.Sleep(600 * time.Millisecond)
		streams(session, 10)
	case "goaway": // takes no new streams; the old one goes on
		st, err := session.OpenStream()
		must(err)
		st.Write([]byte("Ebefore"))
		got := make([]byte, 6)
		_, err = io.ReadFull(st, got)
		must(err)
		must(session.GoAway())
		st.Write([]byte(" after"))
		_, err = io.ReadFull(st, got)
		must(err)
		result["got"] = string(got)
		must(st.Close())
		io.ReadAll(st)
	}
	json.NewEncoder(os.Stdout).Encode(result)
	session.Close()
}
