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
