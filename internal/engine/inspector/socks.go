package inspector

import (
	"bytes"
	"math"
)

// isSOCKS5: the version, and nothing but a list of methods (RFC 1928 3).
func isSOCKS5(data []byte) match {
	if m := fixed(data, 5, -1); m != yes {
		return m
	}
	switch n := 2 + int(data[1]); {
	case n == 2 || len(data) > n && data[n] != 5 && data[n] != 1:
		return no
	case len(data) < n:
		return more
	}
	return yes
}

func socks5(said [2][]byte) (at extent, m match) {
	asked, told := said[client], said[server]
	at[client] = 2 + int(asked[1])
	if len(told) < 2 {
		return at, more
	}
	at[server] = 2
	switch {
	case told[0] != 5:
		return at, no
	case told[1] == 2: // RFC 1929
		rest := asked[at[client]:]
		if len(rest) < 2 || len(rest) < 3+int(rest[1]) || len(rest) < 3+int(rest[1])+int(rest[2+int(rest[1])]) {
			return at, more
		}
		at[client] += 3 + int(rest[1]) + int(rest[2+int(rest[1])])
		if len(told) < 4 {
			return at, more
		}
		if at[server] = 4; told[3] != 0 {
			return at, no
		}
	case told[1] != 0:
		return at, no
	}
	for end := range 2 {
		rest := said[end][at[end]:]
		switch n := socksAddress(rest); {
		case n == 0:
			return at, more
		case rest[0] != 5 || end == client && rest[1] != 1 || end == server && rest[1] != 0:
			return at, no // not to be connected, or refused
		default:
			at[end] += n
		}
	}
	return at, yes
}

// socksAddress is the length of a request or reply, which have one form; 0 where it is
// not all there.
func socksAddress(data []byte) int {
	if len(data) < 5 {
		return 0
	}
	n := 4 + 2
	switch data[3] {
	case 1:
		n += 4
	case 3:
		n += 1 + int(data[4])
	case 4:
		n += 16
	default:
		n = math.MaxInt
	}
	if n > len(data) {
		return 0
	}
	return n
}

// isSOCKS4: CONNECT or BIND, an address, and names that end with NUL.
func isSOCKS4(data []byte) match {
	if m := fixed(data, 4, -1, -1, -1, -1, -1, -1, -1); m != yes {
		if len(data) > 1 && data[1] != 1 && data[1] != 2 {
			return no
		}
		return m
	}
	switch {
	case data[1] != 1 && data[1] != 2:
		return no
	case socks4Length(data) == 0 && len(data) < longestPreamble:
		return more
	}
	return yes
}

// socks4Length is the length of a request; 0 where it is not all there.
func socks4Length(data []byte) int {
	n := 8
	names := 1
	if data[4] == 0 && data[5] == 0 && data[6] == 0 && data[7] != 0 {
		names = 2 // SOCKS 4A
	}
	for range names {
		i := bytes.IndexByte(data[n:], 0)
		if i < 0 {
			return 0
		}
		n += i + 1
	}
	return n
}

func socks4(said [2][]byte) (at extent, m match) {
	const granted = 90
	if at[client] = socks4Length(said[client]); at[client] == 0 {
		return extent{}, no
	}
	if len(said[server]) < 8 {
		return at, more
	}
	if at[server] = 8; said[server][0] != 0 || said[server][1] != granted {
		return at, no
	}
	return at, yes
}
