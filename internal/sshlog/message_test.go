package sshlog

import (
	"fmt"
	"strings"
	"testing"
)

const (
	header = "<38>Nov 29 14:47:51 sshd[1220]: "
	sum    = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	other  = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"
	before = "Accepted publickey for root from 192.0.2.7 port 4242 ssh2: "
)

func TestParse(t *testing.T) {
	byKey := Login{Key: sum, Address: "192.0.2.7", Port: 4242}
	without := Login{Address: "192.0.2.7", Port: 4242}
	certificate := func(name string) string {
		return before + "ED25519-CERT " + sum + " ID " + name + " (serial 7) CA RSA " + other
	}
	for name, c := range map[string]struct {
		text string
		want *Login // nil: refused
	}{
		"a key":                       {header + before + "ED25519 " + sum, &byKey},
		"of sshd-session":             {"<86>Nov  9 14:47:51 sshd-session[20]: " + before + "RSA " + sum, &byKey},
		"in a stream":                 {header + before + "ED25519 " + sum + "\x00", &byKey},
		"standard error":              {before + "ED25519 " + sum + "\r\n", &byKey},
		"IPv6, with a zone":           {"Accepted publickey for a from fe80::1%eth0 port 1 ssh2: ECDSA " + sum, &Login{sum, "fe80::1%eth0", 1}},
		"a certificate":               {header + certificate("me"), &byKey},
		"a name that is a key":        {header + certificate("x (serial 1) CA RSA "+other), &byKey},
		"a name that is a message":    {header + certificate("\n"+header+before+"ED25519 "+other), &byKey},
		"a password":                  {header + "Accepted password for root from 192.0.2.7 port 4242 ssh2", &without},
		"PAM":                         {header + "Accepted keyboard-interactive/pam for root from 192.0.2.7 port 4242 ssh2", &without},
		"GSS-API":                     {header + "Accepted gssapi-with-mic for root from 192.0.2.7 port 4242 ssh2: me@EXAMPLE", &without},
		"a host":                      {header + "Accepted hostbased for root from 192.0.2.7 port 4242 ssh2: ED25519 " + sum + ", client user \"root\", client host \"a\"", &without},
		"the child's":                 {header + before + "ED25519 " + sum + " [preauth]", nil},
		"the child's, no key":         {header + "Accepted password for root from 192.0.2.7 port 4242 ssh2 [preauth]", nil},
		"the child's, no key, a line": {header + "Accepted password for root from 192.0.2.7 port 4242 ssh2: x [preauth]\n", nil},
		"a name that is cut off":      {header + certificate(strings.Repeat("x", 1000))[:1023], nil},
		"a name that is long":         {header + certificate(strings.Repeat("x", 800)), nil},
		"no key that is cut off":      {header + ("Accepted password for root from 192.0.2.7 port 4242 ssh2: " + strings.Repeat("x", 1000))[:980], nil},
		"more than is handed over":    {before + "ED25519 " + sum + strings.Repeat("\n", 1000), nil},
		"not from the start":          {header + "x " + before + "ED25519 " + sum, nil},
		"in a user's name":            {header + "Failed password for invalid user " + before + "ED25519 " + sum, nil},
		"a user with a space":         {header + "Accepted publickey for a b from 192.0.2.7 port 4242 ssh2: ED25519 " + sum, nil},
		"a user that is a line":       {header + "Accepted publickey for a\nb from 192.0.2.7 port 4242 ssh2: ED25519 " + sum, nil},
		"no user":                     {header + "Accepted publickey for  from 192.0.2.7 port 4242 ssh2: ED25519 " + sum, nil},
		"postponed":                   {header + "Postponed publickey for root from 192.0.2.7 port 4242 ssh2", nil},
		"a partial success":           {header + "Partial publickey for root from 192.0.2.7 port 4242 ssh2: ED25519 " + sum, nil},
		"a key before the signature":  {header + "Accepted key ED25519 " + sum + " found at /root/.ssh/authorized_keys:1", nil},
		"MD5":                         {header + before + "ED25519 MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff", nil},
		"a short sum":                 {header + before + "ED25519 " + sum[:len(sum)-1], nil},
		"a long sum":                  {header + before + "ED25519 " + sum + "A", nil},
		"a sum with padding":          {header + before + "ED25519 " + sum[:len(sum)-1] + "=", nil},
		"no sum":                      {header + before[:len(before)-2], nil},
		"port 65536":                  {strings.Replace(before, "4242", "65536", 1) + "ED25519 " + sum, nil},
		"a port of six digits":        {strings.Replace(before, "4242", "004242", 1) + "ED25519 " + sum, nil},
		"no port":                     {strings.Replace(before, "4242", "", 1) + "ED25519 " + sum, nil},
		"a port with a letter":        {strings.Replace(before, "4242", "42a2", 1) + "ED25519 " + sum, nil},
		"an address that is too long": {strings.Replace(before, "192.0.2.7", strings.Repeat("1", 65), 1) + "ED25519 " + sum, nil},
		"a header without an end":     {"<38>Nov 29 14:47:51 sshd: " + before + "ED25519 " + sum, nil},
		"a header that is too long":   {"<38>" + strings.Repeat("x", 100) + "[1]: " + before + "ED25519 " + sum, nil},
		"nothing":                     {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Parse([]byte(c.text))
			switch {
			case ok != (c.want != nil):
				t.Errorf("it is a login: %t, want %t", ok, c.want != nil)
			case ok && got != *c.want:
				t.Errorf("got %+v, want %+v", got, *c.want)
			}
		})
	}
}

// FuzzParse: of what is a login the fingerprint is the first that the text has, right
// behind what sshd itself says, and the text is all there.
func FuzzParse(f *testing.F) {
	for _, text := range []string{before + "ED25519 " + sum, before + "ED25519-CERT " + sum + " ID x (serial 1) CA RSA " + other, "Accepted password for a from ::1 port 1 ssh2"} {
		f.Add([]byte(header + text))
		f.Add([]byte(text + "\n"))
		f.Add([]byte(header + text + " [preauth]"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, ok := Parse(text)
		if !ok {
			return
		}
		trimmed := strings.TrimRight(string(text), "\r\n\x00")
		if strings.HasSuffix(trimmed, " [preauth]") || len(text) > MaxText {
			t.Fatalf("%q is believed", text)
		}
		method := "Accepted "
		if l.Key != "" {
			method = "Accepted publickey for "
			if _, after, _ := strings.Cut(trimmed, " ssh2: "); !strings.HasPrefix(after[strings.IndexByte(after, ' ')+1:], l.Key) {
				t.Fatalf("%q is not the first key in %q", l.Key, text)
			}
		}
		at := strings.Index(trimmed, method)
		if at < 0 || at > 0 && !strings.HasPrefix(trimmed, "<") || at > maxHeader+3 {
			t.Fatalf("%q is believed from %d on", text, at)
		}
		if !strings.Contains(trimmed, fmt.Sprintf(" from %s port ", l.Address)) {
			t.Fatalf("%q is not in %q", l.Address, text)
		}
	})
}
