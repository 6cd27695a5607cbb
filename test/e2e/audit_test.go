package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAuditLog sends connections that are blocked, as many as it can, and compares
// what the audit log says with what the kernel has counted: through rotation,
// reloads and kills.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, "mode: prevent\nreject: never\nrules: [{name: web, action: allow, layer4: {tcp: 80}}]\n")
	dir := filepath.Join(t.TempDir(), "audit")
	w := start(t, l.a, config{
		policy: string(p), checked: true,
		extension: fmt.Sprintf("audit: {path: %q, max_size: 64KiB, max_backups: 0}", filepath.Join(dir, "audit.log")),
	})
	storm := l.blockedStorm(t, l.b, l.address(l.a, ipv4, 0))
	time.Sleep(3 * time.Second)
	w.signal(t, unix.SIGHUP)
	w.awaitReady(t, 2)
	time.Sleep(2 * time.Second)
	p.replace(t, "mode: prevent\nreject: never\nrules: [{name: web, action: allow, layer4: {tcp: 80}}, {name: more, action: allow, layer4: {tcp: 81}}]\n")
	w.awaitChange(t, "loaded", 2)
	for range 3 {
		w.kill(t)
		w.restart(t)
		time.Sleep(2 * time.Second)
	}
	sent := storm.end()

	var log auditLog
	var kernel int64
	awaitOr(t, func() bool {
		kernel = w.metric(t, "weir.connection.verdicts", "weir.verdict")["blocked"]
		log = readAudit(t, dir)
		return log.counted == uint64(kernel) && log.lines+log.unlined == log.counted
	}, func() {
		t.Fatalf("the kernel counted %d, the log says %d: %d in lines, %d without; %d were sent", kernel, log.counted, log.lines, log.unlined, sent)
	})
	if log.aborted != 3 || log.files < 2 || log.starts != 5 || log.stops != 1 {
		t.Errorf("%d aborted, %d files, %d starts, %d stops", log.aborted, log.files, log.starts, log.stops)
	}
	if kernel < 10_000 {
		t.Errorf("only %d connections were blocked", kernel)
	}
	if !strings.Contains(log.text, "; + rule 2 more: allow layer4.tcp.destination_ports 81\n") {
		t.Error("nothing says what the policy's change was")
	}
	t.Logf("%d sent, %d counted: %d in lines, %d without; %d bytes in %d files", sent, kernel, log.lines, log.unlined, len(log.text), log.files)
}

// auditLog is what an audit log says.
type auditLog struct {
	text                   string
	lines                  uint64 // connections that lines stand for
	unlined, counted       uint64 // connections said to have none; the last count
	starts, stops, aborted int
	files                  int
}

func readAudit(t *testing.T, dir string) (a auditLog) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, filepath.Join(dir, "audit.log")) {
		info, err := os.Lstat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // it is being rotated
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		content, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		a.text += string(content[:bytes.LastIndexByte(content, '\n')+1]) // the last line may be being written
		a.files++
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s has mode %v, %v", dir, info.Mode(), err)
	}
	for line := range strings.Lines(a.text) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			t.Fatalf("line %q", line)
		}
		switch fields[1] {
		case "blocked", "verdict":
			n := uint64(1)
			if _, after, folded := strings.Cut(line, "×"); folded {
				n, err = strconv.ParseUint(strings.Fields(after)[0], 10, 64)
			}
			a.lines += n
		case "count":
			a.counted, err = strconv.ParseUint(fields[2], 10, 64)
		case "error":
			if strings.Contains(line, "have no line") {
				var n uint64
				n, err = strconv.ParseUint(fields[2], 10, 64)
				a.unlined += n
			}
			if strings.Contains(line, "ended abruptly") {
				a.aborted++
			}
		case "start":
			a.starts++
		case "stop":
			a.stops++
		}
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
	}
	return a
}

// storm is datagrams from a host to ever new ports of another one.
type storm struct {
	sent       atomic.Int64
	stop, done chan struct{}
}

func (l *lab) blockedStorm(t *testing.T, from *host, to netip.Addr) *storm {
	t.Helper()
	s := &storm{stop: make(chan struct{}), done: make(chan struct{})}
	var clients []*net.UDPConn
	from.run(func() {
		for range 20 {
			c, err := net.ListenUDP("udp4", nil)
			if err != nil {
				t.Error(err)
				return
			}
			clients = append(clients, c)
		}
	})
	go func() {
		defer close(s.done)
		for i := 0; ; i++ {
			select {
			case <-s.stop:
				for _, c := range clients {
					c.Close()
				}
				return
			default:
			}
			at := netip.AddrPortFrom(to, uint16(1024+i%60_000))
			if _, err := clients[i/60_000%len(clients)].WriteToUDPAddrPort([]byte("storm"), at); err == nil {
				s.sent.Add(1)
			}
			if i%1000 == 0 {
				time.Sleep(time.Millisecond) // the machine is not the test's alone
			}
		}
	}()
	return s
}

// end stops it and returns how many were sent.
func (s *storm) end() int64 {
	close(s.stop)
	<-s.done
	return s.sent.Load()
}
