// Package sshlog reads what OpenSSH's server says of logins.
package sshlog

import (
	"bytes"
	"strconv"
	"time"
)

// Bounds, which those of bpf/sshlogin_message.h are.
const (
	// MaxText is the length of a message with its header, in bytes.
	MaxText = 1024
	// maxMessage is that of a message. sshd cuts its own off at 1023 bytes, and with
	// them the mark of those that are not its own.
	maxMessage = 900
	maxHeader  = 96
	maxWord    = 127 // of a user's name sshd prints 100 bytes
	maxAddress = 64
	sumLength  = 43 // SHA-256 in base64, without padding
)

// Login is a login that sshd has let pass.
type Login struct {
	// Key is the fingerprint of the key: "SHA256:" and unpadded base64. Of a
	// certificate it is that of the key within. Empty: it was not by a key.
	Key string
	// Address and Port are those of the client; the address is as sshd writes it, with
	// a zone where it has one.
	Address string
	Port    uint16
}

// Entry is a login as the systemd journal tells of it.
type Entry struct {
	Login
	Time time.Time // when the journal took the message
}

// Parse reads a message as sshd hands it to syslog, "<38>Nov 29 14:47:51 sshd[1220]: "
// and more, or writes it to standard error, without that:
//
//	Accepted publickey for root from 192.0.2.7 port 4242 ssh2: ED25519 SHA256:…
//
// (auth_log in OpenSSH's auth.c). Such a message is read from its beginning, and nothing
// may follow: whatever a client has a say in, a user's name or the name of a certificate,
// cannot pass for another part of it. A message that the process without rights asked
// the monitor to log bears " [preauth]" at its end, and is refused; so is one that is so
// long that its end may be cut off.
func Parse(text []byte) (l Login, ok bool) {
	if len(text) > MaxText {
		return l, false
	}
	for range 3 { // a line end; the end of a text in a stream
		if n := len(text); n > 0 && bytes.IndexByte([]byte("\r\n\x00"), text[n-1]) >= 0 {
			text = text[:n-1]
		}
	}
	r := reader{rest: text}
	if !r.header() || len(r.rest) > maxMessage || !r.next("Accepted ") {
		return l, false
	}
	byKey := r.next("publickey ")
	if !byKey && r.word() == "" {
		return l, false
	}
	if !r.next("for ") || r.word() == "" || !r.next("from ") {
		return l, false
	}
	if l.Address = r.word(); l.Address == "" || len(l.Address) > maxAddress {
		return l, false
	}
	if !r.next("port ") || !r.port(&l.Port) || !r.next("ssh2") {
		return l, false
	}
	if !byKey {
		// A host's key, or a principal, may follow.
		end := len(r.rest) == 0 || r.rest[0] == ':'
		return l, end && !bytes.HasSuffix(text, []byte(" [preauth]"))
	}
	if !r.next(": ") || r.word() == "" || !r.fingerprint(&l.Key) {
		return l, false
	}
	if len(r.rest) == 0 {
		return l, true
	}
	// A certificate: " ID NAME (serial N) CA TYPE SHA256:…". Whoever signed it has
	// chosen the name.
	const end = len("SHA256:") + sumLength
	if !r.next(" ID ") || len(r.rest) < end {
		return l, false
	}
	r.rest = r.rest[len(r.rest)-end:]
	var authority string
	return l, r.fingerprint(&authority)
}

type reader struct{ rest []byte }

// next reads over a text that has to come next.
func (r *reader) next(text string) bool {
	if !bytes.HasPrefix(r.rest, []byte(text)) {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

// header reads over what syslog(3) puts before a message.
func (r *reader) header() bool {
	if len(r.rest) == 0 || r.rest[0] != '<' {
		return true
	}
	const end = "]: "
	at := bytes.Index(r.rest, []byte(end))
	if at < 0 || at >= maxHeader {
		return false
	}
	r.rest = r.rest[at+len(end):]
	return true
}

// word reads up to the next space, and over it; empty: there is no word.
func (r *reader) word() string {
	for i, c := range r.rest {
		switch {
		case i > maxWord, c != ' ' && (c < ' ' || c == 0x7f):
			return ""
		case c == ' ':
			word := string(r.rest[:i])
			r.rest = r.rest[i+1:]
			return word
		}
	}
	return ""
}

func (r *reader) port(port *uint16) bool {
	digits := r.word()
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	*port = uint16(n)
	return err == nil && len(digits) <= 5
}

func (r *reader) fingerprint(sum *string) bool {
	const prefix = "SHA256:"
	if !r.next(prefix) || len(r.rest) < sumLength {
		return false
	}
	for _, c := range r.rest[:sumLength] {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
		default:
			return false
		}
	}
	*sum, r.rest = prefix+string(r.rest[:sumLength]), r.rest[sumLength:]
	return true
}
