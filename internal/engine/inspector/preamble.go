package inspector

import (
	"bytes"
	"encoding/binary"

	"github.com/weirnet/weir/internal/inspect/dns"
)

// What some protocols say before the one that is meant: which end it is for (SOCKS),
// or that TLS is to follow (PostgreSQL, MySQL, LDAP, RDP). Both ends say a little in
// turn, in the clear.

// longestPreamble is how much of an end's part is kept, and looked at.
const longestPreamble = 1024

// extent is how far the preamble reaches in the streams of both ends, as far as it is
// known.
type extent [2]int

// dialog reads a preamble from what both ends have said so far. more: it goes on; yes:
// behind the extent begins what is meant; no: it takes another way.
type dialog func(said [2][]byte) (at extent, m match)

// preambleOf is the preamble that a client's first bytes begin. They are told apart by
// what is fixed in them.
func preambleOf(data []byte, port uint16) (dialog, match) {
	if port == dns.Port {
		return nil, no // there anything counts
	}
	result := no
	for _, p := range [...]struct {
		is   func([]byte) match
		read dialog
	}{
		{isSOCKS5, socks5}, {isSOCKS4, socks4}, {isPostgreSQL, postgreSQL}, {isMySQL, mySQL}, {isLDAP, ldap}, {isRDP, rdp},
	} {
		switch p.is(data) {
		case yes:
			return p.read, yes
		case more:
			result = more
		}
	}
	return nil, result
}

// fixed compares what there is of data with fixed bytes; -1 stands for any.
func fixed(data []byte, want ...int) match {
	for i, b := range want {
		switch {
		case i == len(data):
			return more
		case b >= 0 && int(data[i]) != b:
			return no
		}
	}
	return yes
}

// isPostgreSQL: SSLRequest or GSSENCRequest, of which one may follow the other.
func isPostgreSQL(data []byte) match {
	if m := fixed(data, 0, 0, 0, 8, 0x04, 0xd2, 0x16, -1); m != yes {
		return m
	}
	if data[7] != 0x2f && data[7] != 0x30 {
		return no
	}
	return yes
}

func postgreSQL(said [2][]byte) (at extent, m match) {
	for isPostgreSQL(said[client][at[client]:]) == yes {
		at[client] += 8
		if len(said[server]) == at[server] {
			return at, more
		}
		if at[server]++; said[server][at[server]-1] == 'S' {
			return at, yes
		}
	}
	if isPostgreSQL(said[client][at[client]:]) == more {
		return at, more
	}
	return at, no
}

// isMySQL: a handshake response that ends where its user would begin, with the flag
// that says so (CLIENT_SSL). The server has spoken first.
func isMySQL(data []byte) match {
	const ssl = 8 // in the second byte of the flags
	if m := fixed(data, 32, 0, 0, 1, -1, -1); m != yes {
		return m
	}
	if data[5]&ssl == 0 {
		return no
	}
	return yes
}

func mySQL(said [2][]byte) (at extent, m match) {
	at[client] = 36
	if told := said[server]; len(told) >= 4 {
		if at[server] = 4 + int(told[0]) + int(told[1])<<8 + int(told[2])<<16; at[server] > longestPreamble {
			return extent{}, no
		}
	}
	if at[server] == 0 || len(said[server]) < at[server] || len(said[client]) < at[client] {
		return extent{min(at[client], len(said[client])), min(at[server], len(said[server]))}, more
	}
	return at, yes
}

var startTLS = []byte("1.3.6.1.4.1.1466.20037") // RFC 4511 4.14

// isLDAP: a message whose operation is an extended one, of one byte for each length.
func isLDAP(data []byte) match {
	if m := fixed(data, 0x30, -1, 0x02); m != yes {
		return m
	}
	if data[1] >= 0x80 || data[1] < byte(len(startTLS)) {
		return no
	}
	switch n := 2 + int(data[1]); {
	case len(data) < n && !bytes.Contains(data, startTLS):
		return more
	case !bytes.Contains(data[:min(n, len(data))], startTLS):
		return no
	case len(data) < n:
		return more
	}
	return yes
}

func ldap(said [2][]byte) (at extent, m match) {
	at[client] = 2 + int(said[client][1])
	told := said[server]
	switch {
	case len(told) < 2:
		return at, more
	case told[0] != 0x30 || told[1] > 0x82:
		return at, no
	}
	length, n := int(told[1]), 2
	if told[1] >= 0x80 {
		n += int(told[1] - 0x80)
		if length = 0; len(told) < n {
			return at, more
		}
		for _, b := range told[2:n] {
			length = length<<8 | int(b)
		}
	}
	if at[server] = n + length; len(told) < at[server] {
		at[server] = len(told)
		return at, more
	}
	return at, yes
}

// isRDP: a TPKT (RFC 1006) with a connection request of X.224.
func isRDP(data []byte) match {
	if m := fixed(data, 3, 0, -1, -1, -1, 0xe0); m != yes {
		return m
	}
	if n := int(binary.BigEndian.Uint16(data[2:])); n < 11 || n > 512 || int(data[4]) != n-5 {
		return no
	} else if len(data) < n {
		return more
	}
	return yes
}

func rdp(said [2][]byte) (at extent, m match) {
	at[client] = int(binary.BigEndian.Uint16(said[client][2:]))
	told := said[server]
	switch fixed(told, 3, 0, -1, -1, -1, 0xd0) {
	case no:
		return at, no
	case more:
		return at, more
	}
	if at[server] = int(binary.BigEndian.Uint16(told[2:])); len(told) < at[server] {
		at[server] = len(told)
		return at, more
	}
	return at, yes
}
