package http

import (
	"fmt"
	"strings"
	"testing"
)

// said is what an end sends at a stroke.
type said struct {
	end  End
	text string
}

func client(text string) said { return said{Client, text} }
func server(text string) said { return said{Server, text} }

// driver offers a parser bytes as a stream would: what was not consumed again, and
// that of one end again after the other's.
type driver struct {
	p    Parser
	kept [2][]byte
	// skips leaves out what the parser can do without.
	skips    bool
	messages []Message
}

func (d *driver) say(end End, data []byte) {
	d.kept[end] = append(d.kept[end], data...)
	for progress := true; progress; {
		progress = false
		for _, e := range [2]End{end, end.Other()} {
			if len(d.kept[e]) == 0 {
				continue
			}
			if skip := d.p.Skip(e); d.skips && skip > 0 && d.p.Wants(e) {
				n := min(skip, uint64(len(d.kept[e])))
				d.p.Gap(e, n)
				d.kept[e] = d.kept[e][n:]
				progress = true
				continue
			}
			n := d.p.Read(e, d.kept[e])
			d.kept[e] = d.kept[e][n:]
			progress = progress || n > 0
		}
	}
	d.take()
}

func (d *driver) take() {
	for _, m := range d.p.Messages() {
		m.Headers = append([]Header(nil), m.Headers...)
		d.messages = append(d.messages, m)
	}
	d.p.Reset()
}

func (d *driver) close() {
	d.p.Close(Client)
	d.p.Close(Server)
	d.take()
}

// brief is a message in a line: what tests compare.
func brief(m *Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %d", m.Kind, m.Exchange)
	if m.Stream != 0 {
		fmt.Fprintf(&b, "/%d", m.Stream)
	}
	switch m.Kind {
	case Request:
		fmt.Fprintf(&b, " %s %s://%s", m.Method, m.Scheme, m.Host)
		if m.Port != 0 {
			fmt.Fprintf(&b, ":%d", m.Port)
		}
		b.WriteString(m.Path)
		if m.HasQuery {
			b.WriteString("?" + m.Query)
		}
		b.WriteString(" " + m.Version)
	case Response:
		fmt.Fprintf(&b, " %d %s", m.Status, m.Version)
	case Ended:
		who := "client"
		if m.End == Server {
			who = "server"
		}
		fmt.Fprintf(&b, " %s %d", who, m.Body)
	case Switched:
		fmt.Fprintf(&b, " %d at %v %s", m.Inner, m.InnerStart, m.Upgrade)
	case Broken:
		fmt.Fprintf(&b, " %d from %d", m.End, m.Start)
	}
	if m.Reason != None {
		fmt.Fprintf(&b, " (%v)", m.Reason)
	}
	return b.String()
}

func briefs(messages []Message) []string {
	var all []string
	for i := range messages {
		all = append(all, brief(&messages[i]))
	}
	return all
}

// byEnd writes all of the messages. In which order those of different ends come
// depends on when their bytes do.
func byEnd(messages []Message) string {
	var ends [2]strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&ends[m.End], "%+v\n", m)
	}
	return ends[Client].String() + ends[Server].String()
}

// converse runs a conversation whole, cut at every byte, byte by byte and with what
// can be skipped left out: all must tell the same. With sparse not every cut is
// tried.
func converse(t testing.TB, c *Config, sparse bool, all ...said) []Message {
	t.Helper()
	run := func(skips bool, pieces []said) []Message {
		var d driver
		d.p.Init(c)
		d.skips = skips
		for _, s := range pieces {
			d.say(s.end, []byte(s.text))
		}
		d.close()
		return d.messages
	}
	want := run(false, all)
	same := func(how string, got []Message) {
		t.Helper()
		if a, b := byEnd(want), byEnd(got); a != b {
			t.Fatalf("%s:\n%s\nwhole:\n%s", how, strings.Join(briefs(got), "\n"), strings.Join(briefs(want), "\n"))
		}
	}
	same("with skips", run(true, all))
	var bytewise []said
	for _, s := range all {
		for i := range len(s.text) {
			bytewise = append(bytewise, said{s.end, s.text[i : i+1]})
		}
	}
	same("byte by byte", run(false, bytewise))
	same("byte by byte with skips", run(true, bytewise))
	for i, s := range all {
		step := 1
		if sparse {
			step = 1 + len(s.text)/16
		}
		for cut := 1; cut < len(s.text); cut += step {
			pieces := append([]said(nil), all[:i]...)
			pieces = append(append(pieces, said{s.end, s.text[:cut]}, said{s.end, s.text[cut:]}), all[i+1:]...)
			same(fmt.Sprintf("%d cut at %d", i, cut), run(false, pieces))
		}
	}
	return want
}
