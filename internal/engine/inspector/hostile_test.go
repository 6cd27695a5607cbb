package inspector_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
)

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flood is an inspector with the standard limits, and how much memory it takes.
type flood struct {
	*inspector.Inspector
	t      *testing.T
	before uint64
	now    time.Time
}

func newFlood(t *testing.T, change func(*inspector.Config)) *flood {
	config := inspector.Config{Report: everything, Names: names.NewTable(names.Limits{})}
	if change != nil {
		change(&config)
	}
	return &flood{inspector.New(config), t, heap(), start}
}

func (f *flood) connection(n int, port uint16, protocol uint8) *inspector.Connection {
	return &inspector.Connection{ID: uint64(n + 1), Direction: packet.Inbound, FirstSeen: f.now, Tuple: packet.Tuple{
		Source: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), SourcePort: 40000,
		Destination: hostB, DestinationPort: port, Protocol: protocol,
	}}
}

func (f *flood) open(c *inspector.Connection) {
	f.Packet(c, &inspector.Packet{Time: f.now, Flags: packet.SYN, Seq: 999})
	f.Packet(c, &inspector.Packet{Time: f.now, End: 1, Flags: packet.SYN | packet.ACK, Seq: 4999, Ack: 1000})
}

// say sends bytes of the client, from an offset on.
func (f *flood) say(c *inspector.Connection, at int, data []byte) {
	f.Packet(c, &inspector.Packet{Time: f.now, Flags: packet.ACK, Seq: 1000 + uint32(at), Ack: 5000, Payload: data})
}

// within fails the test where more memory is taken than megabytes, and returns the
// counters that are not 0.
func (f *flood) within(megabytes int) string {
	f.t.Helper()
	used := int(heap()-f.before) >> 20
	n, queries, asked, held := f.Held()
	f.t.Logf("%d connections, %d queries (%d), %d KiB of streams; %d MiB in all", n, queries, asked, held>>10, used)
	if used > megabytes {
		f.t.Errorf("%d MiB are in use, more than %d", used, megabytes)
	}
	var text []string
	f.Counters(func(c inspector.Counter, n uint64) {
		if n > 0 {
			text = append(text, fmt.Sprintf("%v %d", c, n))
		}
	})
	runtime.KeepAlive(f.Inspector)
	return strings.Join(text, ", ")
}

// forget drops the records, as whoever takes them does.
func (f *flood) forget() { f.Reset() }

// The bounds of docs/inspection.md: 64 MiB for what streams hold, and some KiB besides
// for each connection of at most 65,536.

// Streams that begin and never end, from as many addresses: the oldest give way.
func TestManyStreams(t *testing.T) {
	n := 100000
	if testing.Short() {
		n = 10000
	}
	for _, kind := range []struct {
		name  string
		port  uint16
		begin string
		limit int // MiB
	}{
		{"HTTP/1", 80, "GET /a HTTP/1.1\r\nHost: a.example\r\nX-Long: " + strings.Repeat("a", 600), 400},
		{"TLS", 443, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 400), 400},
		{"HTTP/2", 80, http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", 600},
		{"anything", 9000, "hello there", 400},
	} {
		t.Run(kind.name, func(t *testing.T) {
			f := newFlood(t, nil)
			for i := range n {
				c := f.connection(i, kind.port, packet.TCP)
				f.open(c)
				f.say(c, 0, []byte(kind.begin))
				f.forget()
			}
			counts := f.within(kind.limit)
			t.Log(counts)
			if evicted := max(n-1<<16, 0); evicted > 0 && !strings.Contains(counts, fmt.Sprintf("evicted %d", evicted)) && !strings.Contains(counts, "given_up") {
				t.Errorf("%s", counts)
			}
		})
	}
}

// A header section of a gigabyte costs what is kept of a stream at most, whole or in
// segments of a byte.
func TestEndlessHeader(t *testing.T) {
	for _, test := range []struct {
		size, total int
	}{{1400, 1 << 30}, {1, 200000}} {
		if testing.Short() {
			test.total = min(test.total, 16<<20)
		}
		f := newFlood(t, nil)
		c := f.connection(0, 80, packet.TCP)
		f.open(c)
		f.say(c, 0, []byte("GET / HTTP/1.1\r\nX: "))
		chunk := bytes.Repeat([]byte{'a'}, test.size)
		for at := 19; at < test.total; at += test.size {
			f.say(c, at, chunk)
		}
		if said := f.Exchanges(); len(said) != 1 || !strings.Contains(said[0].Problem, "longer than the limit") {
			t.Errorf("%+v", said)
		}
		t.Log(f.within(4))
	}
}

// Segments of a byte, the last first, of many connections: what is given up is counted.
func TestScatteredBytes(t *testing.T) {
	f := newFlood(t, func(c *inspector.Config) { c.Streams = stream.Limits{Bytes: 4 << 20} })
	for i := range 2000 {
		c := f.connection(i, 80, packet.TCP)
		f.open(c)
		for at := 400; at > 0; at -= 2 {
			f.say(c, at, []byte("x"))
		}
	}
	if _, _, _, held := f.Held(); held > 4<<20 {
		t.Errorf("%d bytes", held)
	}
	t.Log(f.within(20))
}

// Requests on 10,000 streams of HTTP/2 at a time: no more wait than the limit.
func TestManyHTTP2Streams(t *testing.T) {
	f := newFlood(t, nil)
	c := f.connection(0, 80, packet.TCP)
	f.open(c)
	paths := make([]string, 10000)
	for i := range paths {
		paths[i] = "/" + strings.Repeat("p", 100)
	}
	text := overHTTP2(t, paths...)[0].text
	for at := 0; at < len(text); at += 1400 {
		f.say(c, at, []byte(text[at:min(at+1400, len(text))]))
	}
	counts := f.within(16)
	f.Finish(f.now)
	problems := map[string]int{}
	for i := range f.Exchanges() {
		problems[f.Exchanges()[i].Problem]++
	}
	t.Log(counts, problems)
	if problems["more streams are open than the limit"] == 0 {
		t.Error(problems)
	}
}

// Queries without an answer, from one source and from many.
func TestManyQueries(t *testing.T) {
	query := []byte(ask(t, 1, strings.Repeat("a", 60)+"."+strings.Repeat("b", 60)+"."+strings.Repeat("c", 60)+".example.", ""))
	f := newFlood(t, nil)
	for i := range 100000 {
		c := f.connection(i, 53, packet.UDP)
		query[0], query[1] = byte(i>>8), byte(i)
		f.Packet(c, &inspector.Packet{Time: f.now, Payload: query})
		f.forget()
	}
	t.Log(f.within(400))
	if _, queries, asked, _ := f.Held(); queries > 16384 || asked > 16384 {
		t.Errorf("%d and %d queries wait", queries, asked)
	}
}

// Hellos and requests of which each is as large as may be, and that nobody answers: what
// parsers hold is bounded beside the streams.
func TestLargeMessages(t *testing.T) {
	n := 20000
	if testing.Short() {
		n = 2000
	}
	hello := "\x16\x03\x01\x2f\xf0\x01\x00\x2f\xec\x03\x03" + strings.Repeat("r", 11000)
	request := "GET /" + strings.Repeat("p", 11000) + " HTTP/1.1\r\nHost: a.example\r\n\r\n"
	for _, test := range []struct {
		name, text string
		times      int
	}{{"hellos", hello, 1}, {"requests", request, 3}, {"more requests", request, 120}} {
		t.Run(test.name, func(t *testing.T) {
			f := newFlood(t, nil)
			for i := range n / test.times {
				c := f.connection(i, 443, packet.TCP)
				f.open(c)
				for at := range test.times {
					f.say(c, at*len(test.text), []byte(test.text))
				}
				f.forget()
			}
			counts := f.within(350)
			t.Log(counts)
			if !testing.Short() && !strings.Contains(counts, "given_up") {
				t.Error(counts)
			}
		})
	}
}

// What max_bytes allows is read, also where it is more than streams hold otherwise.
func TestLongHeader(t *testing.T) {
	for _, limit := range []int{12288, 300000, 1 << 20} {
		for _, over := range []int{-100, 100} {
			w := newWorld(t, pages, func(c *inspector.Config) { c.MaxBytes = limit })
			head := "GET /evil HTTP/1.1\r\nHost: a.example\r\nX: "
			k := w.open(80)
			k.size = 1400
			k.client(head + strings.Repeat("a", limit+over-len(head)-4) + "\r\n\r\n")
			want := "block rule evil"
			if over > 0 {
				want = "block error.limit evil"
			}
			w.expect(fmt.Sprint(limit, over), k.verdict(), want)
		}
	}
}
