package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/policy"
)

func evaluateCommand() *cobra.Command {
	var file, at, question string
	var every, exitCode bool
	var q questionFlags
	c := &cobra.Command{
		Use:   "evaluate --policy FILE [facts]",
		Short: "Ask a policy about one connection, and why",
		Long: `Walks through the rules of a policy with what you say of a connection, and tells
of each rule why it was passed over, and which one decides. It is the walk that
Weir takes.

What you do not say of the protocol is unknown, as it is before its bytes have
come: the walk then says what it waits for. --absent says that something cannot
exist, such as a server name in a handshake without one; --unobtainable that it
cannot be known, and why. The facts are application, http.host, http.path,
http.method, http.headers, http.version, tls.server_name, tls.version, tls.ech,
tls.certificate, dns.name, dns.type, ssh.public_key and ssh.software.

What comes with each packet (direction, addresses, ports) must be said where a
rule asks for it.

Exit codes: 0; with --exit-code 4 unless it is allowed; 1 failed; 2 usage.`,
		Example: `  weirctl evaluate --policy policy.yaml --direction outbound --source 192.0.2.1 --destination 203.0.113.7:443 --sni www.example.com
  weirctl evaluate --policy policy.yaml --destination 203.0.113.7:80 --http-host api.example.com --http-path /v1/items
  weirctl evaluate --policy policy.yaml --question facts.json --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := load(c, file)
			if err != nil {
				return err
			}
			now := time.Now()
			if at != "" {
				if now, err = time.Parse(time.RFC3339, at); err != nil {
					return fmt.Errorf("--at %q is not a time; accepted: a time such as 2027-01-31T00:00:00Z", at)
				}
			}
			asked, err := q.question()
			if err != nil {
				return err
			}
			if question != "" {
				if asked, err = readQuestion(c, question); err != nil {
					return failedWith(err)
				}
			}
			facts, err := asked.Facts(p, now)
			if err != nil {
				return inFlags(err)
			}
			e := p.Explain(facts)
			if wantsJSON(c) {
				err = printJSON(c, explanationOf(p, &e))
			} else {
				printExplanation(c, p, &e, every)
			}
			if err == nil && exitCode && e.Decision.Action != policy.Allow {
				return quietly(exitFound)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&file, "policy", "", "the policy; - is standard input")
	f.StringVar(&at, "at", "", "the time of the judgement; the default is now")
	f.StringVar(&question, "question", "", "a file with the facts as JSON, instead of flags; - is standard input")
	f.BoolVar(&every, "all", false, "tell of each safeguard, too")
	f.BoolVar(&exitCode, "exit-code", false, "exit with 4 unless it is allowed")
	q.add(f)
	_ = c.MarkFlagRequired("policy") // it exists
	complete(c, "direction", "inbound", "outbound", "forwarded")
	complete(c, "transport", "tcp", "udp", "icmp", "icmpv6")
	complete(c, "application", "http", "tls", "quic", "dns", "ssh", "other", "tls+dns")
	complete(c, "http-version", "1.0", "1.1", "2")
	complete(c, "tls-version", "1.0", "1.1", "1.2", "1.3")
	complete(c, "ech", "true", "false")
	for _, name := range factFlags {
		c.MarkFlagsMutuallyExclusive("question", name)
	}
	return c
}

func readQuestion(c *cobra.Command, path string) (*policy.Question, error) {
	const most = 1 << 20
	content, err := []byte(nil), error(nil)
	if path == "-" {
		content, err = readAll(c.InOrStdin(), most)
	} else {
		content, err = readFile(path, most)
	}
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(content)))
	d.DisallowUnknownFields()
	q := &policy.Question{}
	if err := d.Decode(q); err != nil {
		return nil, fmt.Errorf("read the facts in %s: %w", path, err)
	}
	return q, nil
}

// inFlags tells problems of a question by the flags that they come from.
func inFlags(err error) error {
	var all policy.Errors
	if !errors.As(err, &all) {
		return err
	}
	flags := map[string]string{"http.version": "http-version", "tls.version": "tls-version", "dns.type": "dns-type", "icmp_type": "icmp-type", "icmp_code": "icmp-code"}
	lines := make([]string, 0, len(all))
	for _, e := range all {
		told := *e
		if name, renamed := flags[e.Key]; renamed {
			told.Key = name
		}
		lines = append(lines, "--"+told.Error())
	}
	return failedWith(errors.New(strings.Join(lines, "\n")))
}
