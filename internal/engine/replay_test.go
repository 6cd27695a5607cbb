package engine

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// replayed replays a file to its end.
type replayed struct {
	*Replay
	told collector
	err  error
}

func replay(t *testing.T, path, text string, change func(*ReplayConfig)) *replayed {
	t.Helper()
	return replayWith(t, zaptest.NewLogger(t), path, text, change)
}

func replayWith(t *testing.T, log *zap.Logger, path, text string, change func(*ReplayConfig)) *replayed {
	t.Helper()
	ended := make(chan error, 1)
	r := &replayed{}
	config := ReplayConfig{
		Path: path, MaxEntries: 1000, OnChange: r.told.changed, OnEnd: func(err error) { ended <- err },
		Timeouts: Timeouts{TCP: time.Hour, TCPClosing: 2 * time.Minute, UDP: time.Minute, ICMP: 10 * time.Second},
	}
	if change != nil {
		change(&config)
	}
	var err error
	if r.Replay, err = NewReplay(config, log); err != nil {
		t.Fatal(err)
	}
	if text != "" {
		if err := r.Apply(3, load(t, text), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Start(Sink{Connections: r.told.take, Exchanges: r.told.takeExchanges}); err != nil {
		t.Fatal(err)
	}
	select {
	case r.err = <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the replay does not end")
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	return r
}

func (r *replayed) lines() []string {
	var all []string
	for i := range r.told.records {
		all = append(all, r.told.records[i].Line())
	}
	return all
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplay(t *testing.T) {
	r := replay(t, samplePath, "", nil)
	want := `
detected  forwarded udp 192.0.2.20:53211 → 192.0.2.1:53
detected  forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80
end       forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 fin 28ms ↑ 281 B/6 ↓ 164 B/3
detected  forwarded tcp [2001:db8::20]:50504 → [2001:db8:1::7]:80
end       forwarded tcp [2001:db8::20]:50504 → [2001:db8:1::7]:80 fin 28ms ↑ 402 B/6 ↓ 199 B/3
detected  forwarded icmp 192.0.2.20 → 198.51.100.7 type 8/0
detected  forwarded tcp 203.0.113.99:61002 → 192.0.2.20:22
end       forwarded tcp 203.0.113.99:61002 → 192.0.2.20:22 rst 1ms ↑ 40 B/1 ↓ 40 B/1
detected  forwarded tcp 203.0.113.99:61003 → 192.0.2.20:23
end       forwarded tcp 203.0.113.99:61003 → 192.0.2.20:23 rst 1ms ↑ 40 B/1 ↓ 40 B/1
detected  forwarded tcp 203.0.113.99:61009 → 192.0.2.20:3389
end       forwarded tcp 203.0.113.99:61009 → 192.0.2.20:3389 rst 1ms ↑ 40 B/1 ↓ 40 B/1
detected  forwarded tcp 192.0.2.20:41900 → 203.0.113.50:873
end       forwarded udp 192.0.2.20:53211 → 192.0.2.1:53 timeout 9ms ↑ 61 B/1 ↓ 77 B/1
end       forwarded icmp 192.0.2.20 → 198.51.100.7 type 8/0 timeout 2.04s ↑ 252 B/3 ↓ 252 B/3
detected  forwarded tcp 192.0.2.20:42000 → 198.51.100.7:443
end       forwarded tcp 192.0.2.20:41900 → 203.0.113.50:873 rst 1m30s ↑ 214 B/5 ↓ 94 B/2
end       forwarded tcp 192.0.2.20:42000 → 198.51.100.7:443 timeout 25ms ↑ 165 B/4 ↓ 87 B/2`
	if got := "\n" + strings.Join(r.lines(), "\n"); got != want {
		t.Errorf("got:%s", got)
	}
	if first := r.told.records[0]; !first.Time.Equal(sampleAt) || !first.FirstSeen.Equal(sampleAt) || first.Observed.Before(first.Time) {
		t.Errorf("times of %+v", first)
	}
	stats := r.Stats()
	if r.err != nil || r.packets != 45 || r.started != 9 || stats.FlowEntries != 0 || stats.Generation != 0 || stats.Rules != 0 {
		t.Errorf("error %v, %d packets, %d connections, %+v", r.err, r.packets, r.started, stats)
	}
}

// In a replay nothing is enforced: prevent is told of as detect.
func TestReplayPolicy(t *testing.T) {
	r := replay(t, samplePath, `
mode: prevent
rules:
  - {name: web, action: allow, layer4: {tcp: [80, 443]}}
  - {name: names, action: allow, layer4: {udp: 53}}
  - {name: mine, action: allow, direction: outbound}`, nil)
	blocked := 0
	for _, record := range r.told.records {
		j := record.Judgement
		if j.Verdict != telemetry.Detected || j.Prevent || j.Generation != 3 {
			t.Fatalf("%+v", record)
		}
		if record.Kind == telemetry.ConnectionStart && j.Action == telemetry.Block {
			blocked++
		}
	}
	if blocked != 5 { // ping, three tries, the backup
		t.Errorf("%d would be blocked:\n%s", blocked, strings.Join(r.lines(), "\n"))
	}
	totals, err := r.Totals()
	if err != nil {
		t.Fatal(err)
	}
	matches := map[string]uint64{}
	for _, rule := range totals.Rules {
		matches[rule.Rule] = rule.Count
	}
	if matches["web"] != 3 || matches["names"] != 1 || matches["mine"] != 0 || totals.Active != 0 {
		t.Errorf("totals %+v", totals)
	}
	var packets uint64
	for _, traffic := range totals.Traffic {
		packets += traffic.Packets
	}
	if packets != r.packets {
		t.Errorf("%d packets in the totals", packets)
	}
}

// Rules expire in the capture's time, whatever the time is.
func TestReplayExpiry(t *testing.T) {
	r := replay(t, samplePath, `
rules:
  - {name: before, action: block, expires: 2026-03-02T08:30:00Z}
  - {name: morning, action: block, expires: 2026-03-02T08:30:01Z}
  - {name: rest, action: allow}`, nil)
	if len(r.told.changes) != 1 || r.told.changes[0].Detail != "expired: before, morning" || !r.told.changes[0].Time.Equal(sampleAt.Add(time.Second)) {
		t.Errorf("changes %+v", r.told.changes)
	}
	if j := r.told.records[0].Judgement; j.Rule != "morning" {
		t.Errorf("first %+v", j)
	}
	if j := r.told.records[len(r.told.records)-1].Judgement; j.Rule != "rest" {
		t.Errorf("last %+v", j)
	}
}

func TestReplayUpdates(t *testing.T) {
	rec := newRecording(sampleAt)
	client, server := netip.AddrPortFrom(laptop, 1), netip.AddrPortFrom(web, 80)
	rec.exchange(client, server, "a", "b")
	for range 10 {
		rec.wait(time.Second)
		rec.ping(laptop, web, 8, 1)
	}
	r := replay(t, write(t, rec.bytes()), "", func(c *ReplayConfig) { c.UpdateInterval = 3 * time.Second })
	updates := 0
	for _, record := range r.told.records {
		if record.Kind == telemetry.ConnectionUpdate && record.Tuple.Protocol == packet.TCP {
			updates++
		}
	}
	if updates != 3 {
		t.Errorf("%d updates:\n%s", updates, strings.Join(r.lines(), "\n"))
	}
}

func TestReplayFiles(t *testing.T) {
	whole := sample().bytes()
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	z.Write(whole)
	z.Close()
	cut := whole[:len(whole)-10]
	broken := append(append([]byte(nil), whole...), strings.Repeat("\xff", 16)...)
	for _, test := range []struct {
		name    string
		content []byte
		packets uint64
		wrong   bool
	}{
		{"gzip", []byte(zipped.String()), 45, false},
		{"no frames", whole[:24], 0, false},
		{"cut off", cut, 44, false},
		{"broken", broken, 45, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := replay(t, write(t, test.content), "", nil)
			if (r.err != nil) != test.wrong || r.packets != test.packets {
				t.Errorf("error %v, %d packets", r.err, r.packets)
			}
		})
	}
	for _, content := range []string{"", "no capture at all, but some text"} {
		if _, err := NewReplay(ReplayConfig{Path: write(t, []byte(content))}, zaptest.NewLogger(t)); err == nil {
			t.Errorf("%q was opened", content)
		}
	}
	if _, err := NewReplay(ReplayConfig{Path: "/nonexistent"}, zaptest.NewLogger(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A sink that blocks holds up the replay, and not its end longer than allowed.
func TestReplayWaits(t *testing.T) {
	rec := newRecording(sampleAt)
	for range 3 * replayBatch {
		rec.ping(laptop, web, 8, 1)
		rec.wait(time.Minute)
	}
	r, err := NewReplay(ReplayConfig{
		Path: write(t, rec.bytes()), MaxEntries: 10, OnEnd: func(error) { t.Error("it came to the end") },
	}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	blocked, free := make(chan struct{}), make(chan struct{})
	calls := 0
	if err := r.Start(Sink{Connections: func([]telemetry.Connection) { calls++; close(blocked); <-free }}); err != nil {
		t.Fatal(err)
	}
	<-blocked
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(free)
	r.running.Wait()
	if calls != 1 {
		t.Errorf("%d calls of the sink", calls)
	}
	r.reader.Close()
}

func BenchmarkReplay(b *testing.B) {
	rec := newRecording(sampleAt)
	for i := range 20000 {
		client, server := netip.AddrPortFrom(laptop, uint16(i)), netip.AddrPortFrom(web, 80)
		mine, theirs := rec.exchange(client, server, strings.Repeat("q", 200), strings.Repeat("a", 1000))
		rec.close(client, server, mine, theirs)
	}
	path := filepath.Join(b.TempDir(), "capture")
	if err := os.WriteFile(path, rec.bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(rec.bytes())))
	var packets uint64
	for b.Loop() {
		r, err := NewReplay(ReplayConfig{Path: path, MaxEntries: 1 << 20, Timeouts: Timeouts{TCPClosing: time.Minute}}, zaptest.NewLogger(b))
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Apply(0, nil, nil); err != nil {
			b.Fatal(err)
		}
		for err == nil {
			err = r.batch()
		}
		if err != io.EOF || r.packets != 180000 {
			b.Fatal(err, r.packets)
		}
		packets += r.packets
		r.reader.Close()
	}
	b.ReportMetric(float64(packets)/b.Elapsed().Seconds(), "packets/s")
}
