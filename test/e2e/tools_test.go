package e2e

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRealPrograms: the clients and servers that people use, against rules that
// allow and block them.
func TestRealPrograms(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{policy: string(newPolicy(t, `
mode: prevent
rules:
  - {name: web, action: allow, direction: outbound, layer4: {tcp: 80}}
  - {name: ping, action: allow, direction: outbound, layer3: {destination: [10.77.0.0/24, 'fd77::/64']}, layer4: {icmp: {types: echo-request}}}
  - {name: netcat, action: allow, direction: inbound, layer4: {tcp: 7777}}
`))})
	// told checks that there is one connection with that outcome.
	told := func(t *testing.T, transport, direction string, to netip.Addr, port int64, verdict, rule string) {
		t.Helper()
		var ids []string
		await(t, "the end of the connection", func() bool {
			ids = nil
			for _, r := range w.records(t) {
				if r.event == "weir.connection.end" && r.str("network.transport") == transport && r.str("weir.direction") == direction &&
					r.str("destination.address") == to.String() && r.num("destination.port") == port && r.num("weir.icmp.type")%120 == 8*boolean(port == 0) &&
					r.str("weir.verdict") == verdict && r.str("security_rule.name") == rule {
					ids = append(ids, r.str("weir.connection.id"))
				}
			}
			return len(ids) > 0
		})
		slices.Sort(ids)
		if len(slices.Compact(ids)) != 1 {
			t.Errorf("%d connections where there was one", len(ids))
		}
	}
	for _, f := range families {
		to := l.address(l.b, f, 0)
		t.Run(fmt.Sprintf("curl and nginx/%v", f), func(t *testing.T) {
			t.Parallel()
			curl := tool(t, "curl")
			l.nginx(t, to, 80, 81)
			url := "http://" + netip.AddrPortFrom(to, 80).String() + "/"
			if out, err := l.a.output(t, curl, "-sS", "--max-time", "20", url); err != nil || out != "hello\n" {
				t.Errorf("curl says %q, %v", out, err)
			}
			told(t, "tcp", "outbound", to, 80, "allowed", "web")
			url = "http://" + netip.AddrPortFrom(to, 81).String() + "/"
			out, err := l.a.output(t, curl, "-sS", "--max-time", "20", url)
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 7 { // CURLE_COULDNT_CONNECT, not 28, the timeout
				t.Errorf("curl says %q, %v", out, err)
			}
			told(t, "tcp", "outbound", to, 81, "blocked", "")
		})
		t.Run(fmt.Sprintf("ping/%v", f), func(t *testing.T) {
			t.Parallel()
			ping := tool(t, "ping")
			transport := map[family]string{ipv4: "icmp", ipv6: "icmpv6"}[f]
			if out, err := l.a.output(t, ping, "-n", "-c", "3", "-i", "0.2", to.String()); err != nil || !strings.Contains(out, "3 received") {
				t.Errorf("ping says %s, %v", out, err)
			}
			told(t, transport, "outbound", to, 0, "allowed", "ping")
			other := l.address(l.b, f, 1)
			if out, err := l.a.output(t, ping, "-n", "-c", "1", "-W", "1", other.String()); err == nil {
				t.Errorf("ping says %s", out)
			}
			told(t, transport, "outbound", other, 0, "blocked", "")
		})
		t.Run(fmt.Sprintf("netcat/%v", f), func(t *testing.T) {
			t.Parallel()
			nc := tool(t, "nc")
			here := l.address(l.a, f, 0)
			listener := l.a.listenTCP(t, netip.AddrPortFrom(here, 7777))
			line := make(chan string, 1)
			go func() {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				s, _ := bufio.NewReader(c).ReadString('\n')
				line <- s
			}()
			script := fmt.Sprintf("echo hello | %s -w 5 %s 7777", nc, here)
			if out, err := l.b.output(t, "sh", "-c", script); err != nil {
				t.Errorf("nc says %s, %v", out, err)
			}
			if s := <-line; s != "hello\n" {
				t.Errorf("the server read %q", s)
			}
			told(t, "tcp", "inbound", here, 7777, "allowed", "netcat")
		})
	}
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// nginx serves a page at the ports of an address of b.
func (l *lab) nginx(t *testing.T, at netip.Addr, ports ...uint16) {
	t.Helper()
	path := tool(t, "nginx")
	dir := t.TempDir()
	var listen strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&listen, "listen %v; ", netip.AddrPortFrom(at, port))
	}
	text := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server { %[2]s location / { return 200 "hello\n"; } }
}
`, dir, listen.String())
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l.b.spawn(t, l.b.command(t, path, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log")))
	await(t, "nginx", func() bool {
		_, err := l.b.fetch("http://" + netip.AddrPortFrom(at, ports[0]).String() + "/")
		return err == nil
	})
}

// TestReadableLines runs examples/detect.yaml, as `make run` does: a line when a
// connection begins, within a second, one for its request, and one when it ends.
func TestReadableLines(t *testing.T) {
	t.Parallel()
	curl := tool(t, "curl")
	l := newLab(t)
	to := l.address(l.b, ipv4, 0)
	l.nginx(t, to, 80)
	example, err := filepath.Abs("../../examples/detect.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.a.command(t, weirBinary(t), "--config", example)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	l.a.spawn(t, cmd)
	awaitOr(t, func() bool { in, out := l.a.attached(t, nearName); return in == 1 && out == 1 },
		func() { t.Fatal("it does not watch") })

	// next is the first line that matches.
	var seen []string
	next := func(pattern string, within time.Duration) (string, bool) {
		wanted := regexp.MustCompile(pattern)
		timeout := time.After(within)
		for {
			select {
			case line, ok := <-lines:
				if !ok {
					t.Fatal("it has ended")
				}
				seen = append(seen, line)
				if wanted.MatchString(line) {
					return line, true
				}
			case <-timeout:
				return "", false
			}
		}
	}
	const tuple = ` outbound tcp 10\.77\.0\.1:\d+ → 10\.77\.0\.2:80 weir0`
	for range 3 { // the best of three is not the machine's load
		if out, err := l.a.output(t, curl, "-sS", "http://"+to.String()+"/"); err != nil {
			t.Fatalf("curl says %s, %v", out, err)
		}
		began, inTime := next("^detected "+tuple+"$", time.Second)
		request, asked := next("^http     "+tuple+` GET http://10\.77\.0\.2/ 200`, patience)
		end, ended := next("^end      "+tuple+` http fin \d+(\.\d+)?(m|µ)?s ↑ \d+ B/\d+ ↓ \d+ B/\d+$`, patience)
		if inTime && asked && ended {
			t.Log(began)
			t.Log(request)
			t.Log(end)
			return
		}
	}
	t.Errorf("no line within a second, or none of the request or at the end; the lines are:\n%s", strings.Join(seen, "\n"))
}
