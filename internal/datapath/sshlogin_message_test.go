package datapath

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/sshlog"
)

// TestSSHMessage compares how the kernel reads messages with how package sshlog does, on
// messages that are right, and on such with faults.
func TestSSHMessage(t *testing.T) {
	nstest.Need(t)
	spec, err := bpf.LoadSSHLogin()
	if err != nil {
		t.Fatal(err)
	}
	var kernel struct {
		Read     *ebpf.Program `ebpf:"ssh_read"`
		Readings *ebpf.Map     `ebpf:"ssh_readings"`
	}
	if err := spec.LoadAndAssign(&kernel, nil); err != nil {
		t.Fatal(err)
	}
	defer kernel.Read.Close()
	defer kernel.Readings.Close()
	const unread = ^uint32(0)
	var all []bpf.SSHLoginSshReading
	if err := kernel.Readings.Lookup(uint32(0), &all); err != nil {
		t.Fatal(err)
	}
	read := func(text []byte) (login sshlog.Login, ok bool) {
		for i := range all {
			// What is behind the text is left of another.
			r := bpf.SSHLoginSshReading{Length: uint32(len(text)), Result: unread, Text: all[i].Text}
			copy(r.Text[:], text)
			all[i] = r
		}
		if err := kernel.Readings.Put(uint32(0), all); err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.Read.Run(&ebpf.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := kernel.Readings.Lookup(uint32(0), &all); err != nil {
			t.Fatal(err)
		}
		for i := range all {
			r := &all[i]
			if r.Result == unread {
				continue // another processor's
			}
			if r.Result == 0 {
				return login, false
			}
			login = sshlog.Login{Address: string(r.Text[r.Address:][:r.AddressLength]), Port: uint16(r.Port)}
			if bpf.SSHLoginSshState(r.Result) == bpf.SSHLoginSshStateSSH_KEY {
				login.Key = "SHA256:" + string(r.Text[r.Fingerprint:][:43])
			}
			return login, true
		}
		t.Fatal("it was not read")
		return login, false
	}
	random := rand.New(rand.NewPCG(1, 2))
	logins := 0
	for range 5_000 {
		text := drawSSHMessage(random)
		want, known := sshlog.Parse(text)
		got, ok := read(text)
		if ok != known || ok && got != want {
			t.Fatalf("the kernel reads %q as %+v, %t; want %+v, %t", text, got, ok, want, known)
		}
		if ok {
			logins++
		}
	}
	if logins < 250 || logins > 4750 {
		t.Errorf("%d of 5000 messages are logins; want many of both", logins)
	}
}

// drawSSHMessage draws a message as sshd writes it, and often changes a part of it.
func drawSSHMessage(r *rand.Rand) []byte {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	long := func(most int) string { return strings.Repeat("x", r.IntN(most)) }
	text := pick("", "<38>Nov 29 14:47:51 sshd[1220]: ", "<38>Nov 29 14:47:51 "+long(110)+"[1]: ") +
		pick("Accepted", "Accepted", "Accepted", "Partial", "Failed") + " " +
		pick("publickey", "publickey", "password", "keyboard-interactive/pam", "hostbased", "gssapi-with-mic") +
		" for " + pick("root", "a b", long(130), "\x01", "é") +
		" from " + pick("192.0.2.7", "2001:db8::7", "fe80::1%eth0", long(70)) +
		" port " + pick("4242", "1", "65535", "65536", "123456", fmt.Sprint(r.IntN(70_000))) + " ssh2" +
		pick(": ED25519 "+goodKey, ": ED25519 "+goodKey, ": RSA "+badKey, "", ": me@EXAMPLE",
			": ED25519-CERT "+goodKey+" ID "+long(900)+" (serial 7) CA RSA "+badKey) +
		pick("", "", "", " [preauth]", ", client user") + pick("", "", "\n", "\r\n", "\x00", "\n\n\n\n")
	b := []byte(text)
	if r.IntN(2) == 0 {
		return b[:min(len(b), sshlog.MaxText)]
	}
	switch at := r.IntN(len(b)); r.IntN(4) {
	case 0:
		b[at] = byte(r.IntN(256))
	case 1:
		b = b[:at]
	case 2:
		b = append(b[:at:at], b[at+1:]...)
	case 3:
		b = append(b[:at:at], append([]byte(pick(" ", "<", "[", "]: ", "SHA256:", "\n")), b[at:]...)...)
	}
	return b[:min(len(b), sshlog.MaxText)]
}
