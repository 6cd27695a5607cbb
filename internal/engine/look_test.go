package engine

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"testing"

	"github.com/weirnet/weir/internal/telemetry"
)

// paths are those of the requests that were told of, with what was answered, sorted.
func (c *collector) paths() (found []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.said {
		if h := c.said[i].HTTP; h != nil {
			found = append(found, fmt.Sprintf("%s %d", h.Path, h.Status))
		}
	}
	slices.Sort(found)
	return found
}

// TestLookAcrossReload: a connection that is open when another engine takes over is
// looked into by that one, with the verdict that it had; nothing is left running.
func TestLookAcrossReload(t *testing.T) {
	curl, err := exec.LookPath("curl") // this process's own connections are never looked into
	if err != nil {
		t.Skip("curl is not installed")
	}
	const text = "mode: detect\ndefault_action: block\n" + noLoopback + "rules: [{name: web, action: allow, layer7: {http: [www.example.com]}}]"
	all := func(c *Config) { c.Inspect.Report, c.Keep = reportAll.Report, KeepAlways }
	first, told := start(t, text, all)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reloaded := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/2" {
			<-reloaded
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	url := "http://" + l.Addr().String()
	client := exec.Command(curl, "-sS", "--max-time", "60", "-H", "host: www.example.com", url+"/1", url+"/2", url+"/3")
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Process.Kill() })
	expect := func(c *collector, want ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(want), func() bool { return slices.Equal(c.paths(), want) })
	}
	expect(told, "/1 200")
	if s := first.Stats().Inspect; s.Opened != 1 || s.Connections != 1 {
		t.Errorf("it tells of itself: %+v", s)
	}
	told.shutDown()
	expect(told, "/1 200", "/2 0")
	second, next := start(t, text, all)
	close(reloaded)
	if err := client.Wait(); err != nil {
		t.Fatal(err)
	}
	expect(next, " 200", "/3 200") // the question of the first was not seen
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	eventually(t, "the end", func() bool { return len(next.of(telemetry.ConnectionEnd, port)) > 0 })
	if end := next.of(telemetry.ConnectionEnd, port)[0]; end.Judgement.Action != telemetry.Allow || end.Judgement.Rule != "web" {
		t.Errorf("it ends with %+v", end.Judgement)
	}
	for _, v := range append(told.of(telemetry.ConnectionVerdict, port), next.of(telemetry.ConnectionVerdict, port)...) {
		if v.Judgement.Action != telemetry.Allow {
			t.Errorf("a verdict on the way: %+v", v.Judgement)
		}
	}
	if s := second.Stats().Inspect; s.Untaken["failed"] > 0 {
		t.Errorf("it tells of itself: %+v", s)
	}
}
