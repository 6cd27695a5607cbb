package tls

// Match says whether an initiator's first bytes are TLS.
type Match uint8

// The answers.
const (
	No   Match = iota // something else
	Yes               // TLS or SSL, well-formed or not
	More              // too few bytes: MaxDetect at most settle it
)

// MaxDetect is the number of bytes that always suffice to Detect.
const MaxDetect = 11

// Detect says whether data, the first bytes of a connection's initiator, are TLS:
// whether there is a server that would take them for it. Servers differ in what they
// think of the version in the first record; Go's takes any below 16.0.
func Detect(data []byte) Match {
	if len(data) == 0 {
		return More
	}
	switch {
	case data[0] == recordHandshake:
		return at(data, 1, func(b byte) bool { return b < 0x10 })
	case data[0] == recordAlert: // a warning before the hello is passed over by some
		if m := at(data, 1, func(b byte) bool { return b == 3 }); m != Yes {
			return m
		}
		if m := at(data, 3, func(b byte) bool { return b == 0 }); m != Yes {
			return m
		}
		return at(data, 4, func(b byte) bool { return b == 2 })
	case data[0]&0x80 != 0:
		return detectSSLv2(data)
	}
	return No
}

func at(data []byte, i int, is func(byte) bool) Match {
	if len(data) <= i {
		return More
	}
	if is(data[i]) {
		return Yes
	}
	return No
}

// detectSSLv2 asks for all that the form fixes, since there is no other sign.
func detectSSLv2(data []byte) Match {
	if m := at(data, 2, func(b byte) bool { return b == 1 }); m != Yes {
		return m
	}
	if m := at(data, 3, func(b byte) bool { return b == 3 || b == 0 }); m != Yes {
		return m
	}
	if len(data) < MaxDetect {
		return More
	}
	number := func(i int) int { return int(data[i])<<8 | int(data[i+1]) }
	length, specs, session, challenge := number(0)&0x7fff, number(5), number(7), number(9)
	isVersion := data[3] == 3 && data[4] <= 4 || data[3] == 0 && data[4] == 2
	if !isVersion || specs%3 != 0 || specs == 0 || challenge < 8 || length != 9+specs+session+challenge {
		return No
	}
	return Yes
}
