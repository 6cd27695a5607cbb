package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holds checks that a text has all of some parts.
func holds(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing from\n%s", part, text)
		}
	}
}

// each runs commands that succeed, and wants parts of what they print.
func (b *bench) each(commands map[string][]string) {
	b.t.Helper()
	for command, parts := range commands {
		code, out, complaints := b.weirctl(strings.Fields(command)...)
		if code != 0 {
			b.t.Errorf("%s: exit code %d: %s", command, code, complaints)
		}
		holds(b.t, out, parts...)
	}
}

func TestAsks(t *testing.T) {
	b := newBench(t)
	b.each(map[string][]string{
		"status":                         {"prevent, default_action block", "generation 1, 3 rules", "health      ok", "2 live; 3 of 1048576", "flow_table_full 4", "1.2.3"},
		"status --json":                  {`"generation": 1`, `"mode": "prevent"`},
		"rules":                          {"weir:loopback", "web", "4211", "line 3", "the resolvers"},
		"rules --json":                   {`"matches": 17`},
		"rules --temporary":              {"no temporary rules"},
		"connections":                    {"198.51.100.9:40001 → 192.0.2.20:22", "rule=ssh", "↑ 1.8 kB ↓ 41.2 kB", "2 live connections"},
		"connections --rule web --json":  {`"total": 1`},
		"connections --limit 1":          {"1 of 2 live connections"},
		"connections --address 10.0.0.1": {"0 live connections"},
		"top --by blocked":               {"SOURCES", "203.0.113.99", "tcp/23", "blocked/s"},
		"top --count 2 --interval 100ms": {"tcp/443", "RULES", "ssh"},
		"top --json":                     {`"by": "connections"`},
	})
	if _, out, _ := b.weirctl("status", "--json"); strings.Contains(out, `"document"`) {
		t.Error("the status has the text of the policy")
	}
}

func TestTemporaryRules(t *testing.T) {
	b := newBench(t)
	b.each(map[string][]string{
		"block --direction inbound --source 203.0.113.0/24 --destination :443 --transport tcp --for 10m --name visit": {"temporary:visit is in force until"},
	})
	b.each(map[string][]string{
		"rules --temporary": {"temporary:visit", `"destination_ports":["443"]`, "user 0 (process"},
		"status":            {"1 temporary rule"},
		"rules":             {"temporary:visit", "until "},
	})
	b.each(map[string][]string{"revoke visit": {"visit is revoked"}})
	b.each(map[string][]string{"rules --temporary --json": {"[]"}})
	for command, want := range map[string]string{
		"block --for 10m":                                           "for every connection",
		"block --source 192.0.2.1":                                  `required flag(s) "for" not set`,
		"block --source 192.0.2.1 --for 1ms":                        "accepted: 1s to 720h",
		"allow --source 192.0.2.300 --for 1m":                       "192.0.2.300",
		"allow --destination :53 --transport icmp --for 1m":         "ports are of tcp and udp",
		"allow --icmp-type 8 --transport tcp --for 1m":              "are of icmp and icmpv6",
		"allow --transport gre,tcp --for 1m":                        "make two",
		"revoke nobody":                                             "nobody",
		"apply policy.yaml --token-file /nowhere --socket /nowhere": "none of the others can be",
		"apply /nowhere/policy.yaml --yes":                          "no such file",
		"apply main.go":                                             "say --yes, or --dry-run",
		"apply main.go --yes --confirm-within 1ms":                  "accepted: 1s to 24h",
		"apply main.go --yes":                                       "main.go:2: this is not YAML",
		"status --url ftp://x":                                      "accepted: a URL",
		"status --token-file x":                                     "say --url",
		"status --url http://192.0.2.1:1 --token-file main.go":      "in the clear",
		"status --socket /nowhere/api.sock":                         "is Weir running, with the extension connection_api?",
		"events --socket /nowhere/api.sock":                         "is Weir running, with the extension connection_api?",
		"events --event x":                                          "weir.connection.start",
		"confirm":                                                   "confirm",
		"top --interval 1ms":                                        "accepted: 100ms",
		"connections --limit -1":                                    "accepted: a number from 0",
	} {
		code, out, complaints := b.weirctl(strings.Fields(command)...)
		if code == 0 || out != "" || !strings.Contains(complaints, want) {
			t.Errorf("%s: exit code %d, printed %q, complained %q; want %q", command, code, out, complaints, want)
		}
	}
}

// What is asked for by flags is what Weir has.
func TestRuleFlags(t *testing.T) {
	tests := map[string]struct {
		flags ruleFlags
		want  string
	}{
		"ends": {
			ruleFlags{sources: []string{"192.0.2.0/24", "2001:db8::1"}, destinations: []string{"[2001:db8::/32]:443", "192.0.2.1-192.0.2.9:8000-8100"}, transports: []string{"TCP"}},
			`{"action":"allow","layer3":{"destination":["2001:db8::/32","192.0.2.1-192.0.2.9"],"source":["192.0.2.0/24","2001:db8::1"]},"layer4":{"tcp":{"destination_ports":["443","8000-8100"]}}}`,
		},
		"port":  {ruleFlags{destinations: []string{":53"}}, `{"action":"allow","layer4":{"tcp":{"destination_ports":["53"]},"udp":{"destination_ports":["53"]}}}`},
		"icmp":  {ruleFlags{icmpTypes: []string{"echo-request"}}, `{"action":"allow","layer4":{"icmp":{"types":["echo-request"]}}}`},
		"other": {ruleFlags{transports: []string{"gre"}, name: "x", direction: "inbound"}, `{"action":"allow","direction":"inbound","layer3":{"other_protocols":["gre"]},"name":"x"}`},
		"said": {
			ruleFlags{serverNames: []string{".example.com"}, ech: "false", httpHosts: []string{"a"}, dnsNames: []string{"b"}, sshKeys: []string{"k"}, domains: []string{"d"}},
			`{"action":"allow","layer7":{"dns":{"names":["b"]},"domains":["d"],"http":{"hosts":["a"]},"ssh":{"public_keys":["k"]},"tls":{"ech":false,"server_names":[".example.com"]}}}`,
		},
	}
	for name, tt := range tests {
		rule, err := tt.flags.rule("allow")
		text, _ := json.Marshal(rule)
		if err != nil || string(text) != tt.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, text, tt.want)
		}
	}
	addresses, ports := splitEnds([]string{"![::1]:1-2", "::"})
	if !reflect.DeepEqual(addresses, []string{"!::1", "::"}) || !reflect.DeepEqual(ports, []string{"1-2"}) {
		t.Errorf("%q %q", addresses, ports)
	}
}

const otherPolicy = "mode: prevent\nrules:\n  - {name: ssh, action: allow, direction: inbound, layer4: {tcp: 22}}\n"

func (b *bench) file(text string) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "new.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func TestApplyWithoutATerminal(t *testing.T) {
	b := newBench(t)
	other, same := b.file(otherPolicy), b.file(livePolicy)
	b.each(map[string][]string{
		"apply " + same + " --yes":      {"nothing to change"},
		"apply " + other + " --dry-run": {"- rule 2 web", "It cuts 1 live connection:", "203.0.113.7:40002 → 192.0.2.20:443"},
	})
	b.each(map[string][]string{"status": {"generation 1,"}})
	b.each(map[string][]string{"apply --yes --confirm-within 1h " + other: {"Generation 2 is in force; the policy before returns at", "weirctl confirm"}})
	b.each(map[string][]string{"status": {"generation 2,", "waits to be confirmed"}})
	b.each(map[string][]string{"rollback": {"Generation 3 is in force, as the policy before."}})
	b.each(map[string][]string{"apply --json --yes --confirm-within 1h " + other: {`"applied": true`, `"cut_count": 1`, `"confirmed": false`}})
	b.each(map[string][]string{"confirm --json": {`"generation": 4`}})
	content, err := os.ReadFile(filepath.Join(b.dir, "policy.yaml"))
	if err != nil || string(content) != otherPolicy {
		t.Errorf("the file has %q, %v", content, err)
	}
}

// terminal is a pseudo terminal: what is typed into one end is read at the other.
func terminal(t *testing.T) (typed, read *os.File) {
	t.Helper()
	typed, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo terminals: ", err)
	}
	t.Cleanup(func() { typed.Close() })
	n, err := unix.IoctlGetInt(int(typed.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(typed.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	read, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo terminals: ", err)
	}
	t.Cleanup(func() { read.Close() })
	return typed, read
}

func TestApplyAsks(t *testing.T) {
	for name, tt := range map[string]struct {
		typed      string
		within     string
		code       int
		generation string
		complaint  string
	}{
		"yes and yes":   {"y\nyes\n", "1h", 0, "generation 2,", "still there"},
		"no":            {"n\n", "1h", exitFound, "generation 1,", "Nothing was changed."},
		"yes and no":    {"y\nn\n", "1h", exitFound, "generation 3,", "in force again"},
		"yes and never": {"y\n", "1s", exitFound, "generation 3,", "nobody answered"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			typed, read := terminal(t)
			if _, err := typed.WriteString(tt.typed); err != nil {
				t.Fatal(err)
			}
			var out, complaints bytes.Buffer
			code := run([]string{"apply", "--socket", b.socket, "--confirm-within", tt.within, b.file(otherPolicy)}, read, &out, &complaints, nil)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			holds(t, complaints.String(), "Put it in force?", tt.complaint)
			holds(t, out.String(), "It cuts 1 live connection:")
			deadline := time.Now().Add(30 * time.Second)
			for {
				if _, s, _ := b.weirctl("status"); strings.Contains(s, tt.generation) && !strings.Contains(s, "waits") {
					return
				} else if time.Now().After(deadline) {
					t.Fatalf("want %s, the status is\n%s", tt.generation, s)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}
