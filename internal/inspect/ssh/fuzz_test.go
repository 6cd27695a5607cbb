package ssh_test

import (
	"testing"

	"github.com/weirnet/weir/internal/inspect/ssh"
)

// FuzzParser: whatever the bytes, what becomes known does not depend on how they
// are cut.
func FuzzParser(f *testing.F) {
	for _, c := range recorded {
		client, server := record(f, c.name)
		f.Add(client, server, uint8(5))
	}
	f.Add([]byte("SSH-2.0-c\r"), []byte("hello\nSSH-1.99-s x\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, client, server []byte, step uint8) {
		ssh.Detect(client)
		steps := int(step)%64 + 1
		// One end after the other: what an end is understood to say may depend on what
		// the other has said, not on the cuts.
		parts := func(steps [2]int) *ssh.Parser {
			p := read(t, client, nil, steps)
			at, end := 0, 0
			for end < len(server) {
				end = min(end+steps[1], len(server))
				at += p.Read(ssh.Server, server[at:end])
			}
			return p
		}
		whole := parts([2]int{1 << 20, 1 << 20})
		cut := parts([2]int{steps, steps})
		if text(whole) != text(cut) {
			t.Fatalf("%s\nin steps of %d: %s", text(whole), steps, text(cut))
		}
		whole.Close(ssh.Client)
		whole.Close(ssh.Server)
		if !whole.Handshake().Settled() {
			t.Fatalf("not settled: %s", text(whole))
		}
	})
}

// FuzzCalls: whatever is lost, and whatever the caller cannot hold, places only
// rise, and in the end everything is settled.
func FuzzCalls(f *testing.F) {
	for _, c := range recorded {
		client, server := record(f, c.name)
		f.Add(client, server, []byte{40, 0, 9, 1, 200, 4, 7, 2, 30, 3, 9, 5, 255, 0, 255, 4, 0, 5})
	}
	f.Fuzz(func(t *testing.T, client, server, calls []byte) {
		var p ssh.Parser
		data := [2][]byte{client, server}
		var at, end [2]int
		var last [2]uint64
		for i := 0; i+1 < len(calls); i += 2 {
			n, e := int(calls[i]), ssh.End(calls[i+1]>>2&1)
			switch calls[i+1] % 4 {
			case 0:
				end[e] = min(end[e]+8*n, len(data[e]))
			case 1:
				p.Limit(e)
			case 2:
				p.Gap(e, uint64(n))
				at[e] = end[e]
			case 3:
				p.Gap(e, max(1, p.Skip(e)))
				at[e] = end[e]
			}
			if at[e] += p.Read(e, data[e][at[e]:end[e]]); at[e] > end[e] {
				t.Fatalf("%d bytes consumed of %d", at[e], end[e])
			}
			for _, m := range p.Messages() {
				if m.Begin < last[m.From] || m.End < m.Begin {
					t.Fatalf("%+v, after %d", m, last[m.From])
				}
				last[m.From] = m.Begin
			}
			p.Reset()
		}
		p.Close(ssh.Client)
		p.Close(ssh.Server)
		if !p.Handshake().Settled() || p.Wants(ssh.Client) || p.Wants(ssh.Server) {
			t.Fatalf("not settled: %s", text(&p))
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	client, server := record(b, "sntrup")
	b.SetBytes(int64(len(client) + len(server)))
	b.ReportAllocs()
	for b.Loop() {
		var p ssh.Parser
		p.Read(ssh.Client, client)
		p.Read(ssh.Server, server)
	}
}
