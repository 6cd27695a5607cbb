package e2e

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// The full size is what docs/events.md has figures of: make subscribers.
var (
	subscribers     = flag.Int("subscribers", 20, "how many subscribe to events in TestSubscribers; a tenth of them is stuck")
	eventRate       = flag.Int("event-rate", 2000, "events in a second in TestSubscribers")
	subscribersTime = flag.Duration("subscribers-time", 3*time.Second, "how long events come in TestSubscribers")
)

// TestSubscribers: connections that each begin and end, at a given rate, while many
// follow them over the unix socket. A tenth of these read nothing, a tenth wants
// everything, the others what is about one of ten addresses. Who reads misses nothing
// but what it is told of; no packet is lost, no record, and memory is bounded.
func TestSubscribers(t *testing.T) {
	full := *subscribers > 20
	if !full {
		t.Parallel()
	}
	l := newLab(t)
	l.a.routeTo(t, "198.18.0.0/24", l.address(l.b, ipv4, 0).String(), nearName, 0)
	setting, socket := apiOf(t)
	w := start(t, l.a, config{policy: string(newPolicy(t, "mode: prevent\nrules: [{name: all, action: allow, layer4: udp}]\n")), extensions: setting})
	w.partial = full // where the machine cannot keep up, starts are told together
	before := memory(t, w.pid())

	const ours = "?event=weir.connection.start,weir.connection.end&rule=all"
	subscribe := func(query string) net.Conn {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := fmt.Fprintf(c, "GET /v1/events%s HTTP/1.0\r\n\r\n", query); err != nil {
			t.Fatal(err)
		}
		return c
	}
	tenth := max(*subscribers/10, 1)
	for range tenth {
		subscribe("")
	}
	all := make([]follower, tenth)
	some := make([]reading, *subscribers-2*tenth)
	for i := range all {
		go all[i].read(subscribe(""))
	}
	for i := range some {
		go some[i].read(subscribe(fmt.Sprintf(ours+"&address=198.18.0.%d", i%10)))
	}
	await(t, "the subscriptions", func() bool {
		return callAPI(t, socket, "/v1/health")["subscribers"].(float64) == float64(*subscribers)
	})

	arrived := l.b.received(t, farName)
	sent, took := l.paced(t, *eventRate/2, *subscribersTime)
	peak := memory(t, w.pid())
	await(t, "every connection to be counted", func() bool {
		return w.metric(t, "weir.connection.verdicts", "weir.verdict")["allowed"] >= int64(sent)
	})
	if counted := w.metric(t, "weir.connection.verdicts", "weir.verdict")["allowed"]; counted > int64(sent)+10 {
		t.Errorf("%d were sent, the kernel counted %d", sent, counted)
	}
	if n := l.b.received(t, farName) - arrived; n < uint64(sent) {
		t.Errorf("%d datagrams were sent, %d arrived", sent, n)
	}
	// Where the machine cannot keep up, some are told together, so that there are fewer.
	want, last, since := int64(2*sent), int64(0), time.Now()
	awaitOr(t, func() bool {
		peak = max(peak, memory(t, w.pid()))
		now := all[0].last.Load()
		for i := range all {
			if all[i].last.Load() != now {
				return false
			}
		}
		if now != last {
			last, since = now, time.Now()
		}
		return full && time.Since(since) > 3*time.Second || now >= want
	}, func() {
		t.Errorf("not all %d events were told: of all events %d, and %d as missing; health %v",
			want, all[0].told.Load(), all[0].lost.Load(), callAPI(t, socket, "/v1/health"))
	})
	lost := int64(0)
	for i := range all {
		lost += all[i].lost.Load()
		if wrong := all[i].wrong.Load(); wrong != nil {
			t.Error(*wrong)
		}
	}
	for i := range some {
		lost += some[i].lost.Load()
		if wrong := some[i].wrong.Load(); wrong != nil {
			t.Error(*wrong)
		}
	}
	if !full {
		await(t, "who wants a tenth of the events to have it", func() bool {
			for i := range some {
				if some[i].told.Load() != want/10 {
					return false
				}
			}
			return true
		})
		if lost != 0 {
			t.Errorf("%d events were missed", lost)
		}
	}
	for cause, n := range callAPI(t, socket, "/v1/health")["lost"].(map[string]any) {
		if n.(float64) != 0 && !(full && cause == "api_behind") { // which subscribers are told of
			t.Errorf("%v records were lost: %s", n, cause)
		}
	}
	if grown := peak - before; grown > 512<<20 { // the buffers, and as much again until it is collected
		t.Errorf("%d MiB of memory more", grown>>20)
	}
	if *subscribersTime > 40*time.Second { // events::write_timeout, and some more
		if n := callAPI(t, socket, "/v1/health")["subscribers"].(float64); int(n) != *subscribers-tenth {
			t.Errorf("%v subscribers are left of %d: those that are stuck are not cut off", n, *subscribers)
		}
	}
	t.Logf("%d events in %v (%.0f/s) to %d subscribers, %d of them stuck: %d events missed, all told; %d MiB before, %d MiB at most",
		last, took.Round(time.Millisecond), float64(last)/took.Seconds(), *subscribers, tenth, lost, before>>20, peak>>20)
}

// paced sends a datagram for each new connection, to ten addresses in turn that the
// peer drops without a word, and returns how many; a multiple of ten.
func (l *lab) paced(t *testing.T, rate int, during time.Duration) (sent int, took time.Duration) {
	t.Helper()
	var clients []*net.UDPConn
	l.a.run(func() {
		for range 1 + rate*int(during/time.Second+1)/600_000 {
			if c, err := net.ListenUDP("udp4", nil); err == nil {
				clients = append(clients, c)
			}
		}
	})
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	began := time.Now()
	for last, owed := began, 0.0; time.Since(began) < during; time.Sleep(time.Millisecond) {
		// Who was kept from sending does not make up for it: a burst would be folded.
		now := time.Now()
		owed = min(owed+now.Sub(last).Seconds()*float64(rate), max(float64(rate)/100, 10))
		last = now
		for ; owed >= 10; owed -= 10 {
			for i := range 10 {
				to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}), uint16(1024+sent/10%60_000))
				if _, err := clients[sent/600_000].WriteToUDPAddrPort([]byte("x"), to); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
	}
	return sent, time.Since(began)
}

// received is how many packets an interface of the host has received.
func (h *host) received(t *testing.T, name string) (packets uint64) {
	t.Helper()
	h.change(t, name, func(_ *netlink.Handle, l netlink.Link) error {
		packets = l.Attrs().Statistics.RxPackets
		return nil
	})
	return packets
}

// memory is what a process has of it, in bytes.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmRSS in %s", status)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// reading counts the events that one is told of, and those it is told that it missed.
type reading struct {
	told, lost atomic.Int64
	wrong      atomic.Pointer[string]
}

func (s *reading) read(c net.Conn) {
	lines := bufio.NewScanner(c)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case !bytes.HasPrefix(line, []byte(`{"id":"`)): // headers, and empty lines where nothing happens
		case bytes.Contains(line, []byte(`"weir.api.lost"`)):
			_, text, _ := strings.Cut(string(line), `"lost":`)
			n, err := strconv.ParseInt(strings.TrimSuffix(text, "}"), 10, 64)
			if err != nil {
				wrong := string(line)
				s.wrong.Store(&wrong)
			}
			s.lost.Add(n)
		default:
			s.told.Add(1)
		}
	}
}
