package audit

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/securefile"
	"github.com/weirnet/weir/internal/telemetry"
)

// In a mount namespace of its own a test may mount a small disk.
func TestMain(m *testing.M) { nstest.Main(m) }

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// bench is a log in a folder of its own.
type bench struct {
	*Log
	t      *testing.T
	config Config

	mu     sync.Mutex
	states []error
}

func (b *bench) state(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states = append(b.states, err)
}

func (b *bench) told() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]error(nil), b.states...)
}

// prepare does not open it.
func prepare(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, config: Config{
		Path: filepath.Join(t.TempDir(), "log", "audit.log"), Access: securefile.Private, MaxSize: 1 << 30, LinesPerSecond: 1 << 30,
	}}
	for _, c := range change {
		c(&b.config)
	}
	return b
}

func open(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := prepare(t, change...)
	b.open()
	return b
}

func (b *bench) open() {
	b.Log = Open(b.config, b.state)
	b.t.Cleanup(func() { b.Close(context.Background(), "test") })
}

func (b *bench) close() {
	b.t.Helper()
	require.NoError(b.t, b.Close(context.Background(), "test"))
}

func (b *bench) dir() string { return filepath.Dir(b.config.Path) }

// files are all the log's files, the oldest first.
func (b *bench) files() []string {
	b.t.Helper()
	aside, err := filepath.Glob(filepath.Join(b.dir(), "audit-*.log"))
	require.NoError(b.t, err)
	return append(aside, b.config.Path)
}

// lines are those of all files, but for those about the end of a log.
func (b *bench) lines() []string {
	b.t.Helper()
	return slices.DeleteFunc(b.allLines(), func(l string) bool { return wordOf([]byte(l)) == stopWord })
}

func (b *bench) allLines() (all []string) {
	b.t.Helper()
	for _, name := range b.files() {
		content, err := os.ReadFile(name)
		require.NoError(b.t, err)
		if len(content) == 0 {
			continue
		}
		require.True(b.t, strings.HasSuffix(string(content), "\n"), "%s ends in half a line", name)
		all = append(all, strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")...)
	}
	return all
}

// sum is how many connections the lines stand for.
func (b *bench) sum() (n uint64) {
	b.t.Helper()
	for _, l := range b.lines() {
		n += connectionsIn(b.t, l)
	}
	return n
}

// connectionsIn reads a line as people do.
func connectionsIn(t *testing.T, line string) uint64 {
	t.Helper()
	require.False(t, timeOf([]byte(line)).IsZero(), line)
	switch wordOf([]byte(line)) {
	case "blocked", "detected", "verdict":
	default:
		return 0
	}
	_, after, folded := strings.Cut(line, "×")
	if !folded {
		return 1
	}
	digits, _, _ := strings.Cut(after, " ")
	n, err := strconv.ParseUint(digits, 10, 64)
	require.NoError(t, err, line)
	return n
}

func (b *bench) await(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain: %s; counts %+v, states %v", what, b.Counts(), b.told())
		}
	}
}

// blocked is a connection that was blocked, the ith.
func blocked(i int) telemetry.Connection {
	at := began.Add(time.Duration(i) * time.Microsecond)
	return telemetry.Connection{
		Kind: telemetry.ConnectionStart, Time: at, Observed: at, ID: uint64(i), FirstSeen: at, LastSeen: at,
		Direction: packet.Inbound, Interface: "eth0", Count: 1,
		Tuple: packet.Tuple{
			Source: netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), SourcePort: uint16(1024 + i),
			Destination: netip.MustParseAddr("192.0.2.2"), DestinationPort: 23, Protocol: packet.TCP,
		},
		Judgement: telemetry.Judgement{
			Rule: "telnet", Generation: 7, Prevent: true,
			Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonRule,
		},
	}
}

func manyBlocked(from, n int) []telemetry.Connection {
	records := make([]telemetry.Connection, n)
	for i := range records {
		records[i] = blocked(from + i)
	}
	return records
}
