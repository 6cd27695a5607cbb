package e2e

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands of docs/walkthrough.md print into it")

// TestWalkthrough types what docs/walkthrough.md types, in shells of two hosts, and
// wants what stands there. The page's comment "all day" stands for what the hosts do
// meanwhile.
func TestWalkthrough(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bash", "curl", "tcpdump"} {
		tool(t, name)
	}
	needKernel(t)
	app, outside := newHost(t), newHost(t)
	wire(t, app, "eth0", outside, "eth0")
	app.address(t, "eth0", "192.0.2.10/24")
	app.route(t, "192.0.2.1")
	for _, a := range []string{"192.0.2.1/24", "192.0.2.20/24", "192.0.2.30/24", "198.51.100.4/32", "198.51.100.5/32", "203.0.113.7/32", "203.0.113.66/32"} {
		outside.address(t, "eth0", a)
	}
	web := outside.listenTCP(t, netip.MustParseAddrPort("203.0.113.7:80"))
	go http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "a page") }))
	outside.greets(t, "192.0.2.30:5432", "the database\n")
	outside.greets(t, "203.0.113.66:8443", "whoever that is\n")
	app.greets(t, "192.0.2.10:22", "SSH-2.0-OpenSSH_9.2\r\n")

	shells := map[string]*shell{"app": app.shell(t), "collector": outside.shell(t)}
	shells["app"].run(t, "echo 203.0.113.7 deb.example.org >> /etc/hosts", nil)
	shells["app"].run(t, fmt.Sprintf("install -m 600 %s %s /etc/weir/", inRoot(t, "packaging/debian/config.yaml"), inRoot(t, "packaging/debian/policy.yaml")), nil)

	page := inRoot(t, "docs/walkthrough.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, part := range sessionParts.FindAllStringSubmatch(string(text), -1) {
		before, block := part[1], part[2]
		if strings.Contains(before, "<!-- all day -->") {
			app.allDay(t, outside, shells["app"])
		}
		got.WriteString(before)
		if block != "" {
			got.WriteString("```console\n" + replaySession(t, shells, block) + "```\n")
		}
	}
	switch {
	case got.String() == string(text):
	case *update:
		if err := os.WriteFile(page, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/walkthrough.md is not what happens (-update writes that):\n%s", firstDifference(string(text), got.String()))
	}
}

// inRoot is a path of the checkout.
func inRoot(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// greets says something to whoever connects, and hangs up after the answer.
func (h *host) greets(t *testing.T, at, words string) {
	t.Helper()
	l := h.listenTCP(t, netip.MustParseAddrPort(at))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprint(c, words)
				bufio.NewReader(c).ReadString('\n')
			}()
		}
	}()
}

// allDay is what the host app does: three logins of two operators, four connections
// to its database, five requests to a mirror.
func (h *host) allDay(t *testing.T, outside *host, sh *shell) {
	t.Helper()
	sh.run(t, "until [ -s day.pcap ]; do sleep 0.1; done", nil)
	talk := func(from *host, source, to string) {
		d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source + ":0"))}
		var c net.Conn
		var err error
		from.run(func() { c, err = d.Dial("tcp", to) })
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(c, "thanks")
	}
	for _, operator := range []string{"198.51.100.4", "198.51.100.5", "198.51.100.4"} {
		talk(outside, operator, "192.0.2.10:22")
	}
	for range 4 {
		talk(h, "192.0.2.10", "192.0.2.30:5432")
	}
	for range 5 {
		if out := sh.run(t, "curl -sS http://deb.example.org/", nil); out != "a page\n" {
			t.Fatal(out)
		}
	}
	sh.run(t, "until [ $(grep -o weir.connection.end /var/log/weir/events.json 2> /dev/null | wc -l) -ge 12 ]; do sleep 0.1; done", nil)
	sh.run(t, "until weirctl replay day.pcap --policy /etc/weir/policy.yaml --host 192.0.2.10 2> /dev/null | grep -q '^12 connections'; do sleep 0.1; done", nil)
}

var (
	// sessionParts are prose, and the block that follows it, if any.
	sessionParts = regexp.MustCompile("(?s)(.*?)(?:```console\n(.*?)```\n|$)")
	prompt       = regexp.MustCompile(`^root@(\w+):~# `)
	answerTyped  = regexp.MustCompile(`(?m)\[y/N\] (.+)$`)
)

// replaySession is the block with what its commands print now.
func replaySession(t *testing.T, shells map[string]*shell, block string) string {
	t.Helper()
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(block, "\n"), "\n")
	for i := 0; i < len(lines); {
		typed := prompt.FindStringSubmatch(lines[i])
		if typed == nil {
			t.Fatalf("%q is no command", lines[i])
		}
		command := strings.TrimPrefix(lines[i], typed[0])
		out.WriteString(lines[i] + "\n")
		for i++; i < len(lines) && strings.HasPrefix(lines[i], "> "); i++ {
			command += "\n" + strings.TrimPrefix(lines[i], "> ")
			out.WriteString(lines[i] + "\n")
		}
		begin := i
		for i < len(lines) && !prompt.MatchString(lines[i]) {
			i++
		}
		var answers []string
		for _, m := range answerTyped.FindAllStringSubmatch(strings.Join(lines[begin:i], "\n"), -1) {
			answers = append(answers, m[1])
		}
		out.WriteString(settled(shells[typed[1]].run(t, command, answers)))
	}
	return out.String()
}

// What is another each time, and what stands in the page.
var varying = []struct {
	is   *regexp.Regexp
	page string
}{
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d([ T])\d\d:\d\d:\d\d(\.\d+)?`), "2026-05-04${1}09:41:00"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "09:41:00"},
	{regexp.MustCompile(`:(3[2-9]|[45]\d|6[0-5])\d{3}\b`), ":40001"},
	{regexp.MustCompile(`(2026-05-04T09:41:00Z) to 2026-05-04T09:41:00Z`), "$1"},
	{regexp.MustCompile(`\(process \d+\)`), "(process 4711)"},
	{regexp.MustCompile(`after \d+ ms`), "after 2 ms"},
	{regexp.MustCompile(`(?m)^weir        \S+,`), "weir        1.0.0,"},
}

func settled(text string) string {
	for _, v := range varying {
		text = v.is.ReplaceAllString(text, v.page)
	}
	return text
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nthe page:\n%s\nprinted:\n%s", i+1, strings.Join(w[min(i, len(w)):min(i+12, len(w))], "\n"), strings.Join(g[min(i, len(g)):min(i+12, len(g))], "\n"))
		}
	}
	return ""
}
