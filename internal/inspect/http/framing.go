package http

import "strings"

// framing is what a header section says of where its message ends.
type framing struct {
	chunked, untilClose bool
	length              uint64
}

// place says in m where the next message begins, if that is known.
func (f framing) place(m *Message) {
	if !f.chunked && !f.untilClose {
		m.Next, m.NextKnown = m.HeadEnd+f.length, true
	}
}

// coding is the list of transfer codings: none, or it ends in chunked or not.
type coding uint8

const (
	noCoding coding = iota
	lastChunked
	lastOther
)

// maxDigits keeps a length within a signed 64-bit number.
const maxDigits = 18

func (f *fields) addLength(raw, value string, strict bool) {
	f.lengths++
	switch {
	case !isDecimal(value) || strict && !isPlain(raw, value):
		f.framingWhy = ContentLength
	case f.lengths > 1 && value != f.length:
		f.framingWhy = DifferingLengths
	}
	f.length = value
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= maxDigits
}

// addCoding reads a Transfer-Encoding, which can stand in several lines. The names
// are taken as every server knows them; in a response their case does not matter.
func (f *fields) addCoding(raw, value string, strict bool) {
	if strict && !isPlain(raw, value) {
		f.framingWhy = TransferEncoding
	}
	for one := range strings.SplitSeq(value, ",") {
		if strict {
			one = strings.TrimPrefix(one, " ")
		} else {
			one = strings.ToLower(trim(one))
		}
		switch {
		case f.coding == lastChunked:
			f.framingWhy = TransferEncoding // something after chunked
			f.coding = lastOther
		case one == "chunked":
			f.coding = lastChunked
		case one == "gzip" || one == "x-gzip" || one == "deflate" || one == "compress" || one == "x-compress" || one == "identity":
			f.coding = lastOther
		default:
			f.framingWhy = TransferEncoding
			f.coding = lastOther
		}
	}
}

// decimal is the value of a length that addLength found well-formed.
func decimal(s string) (n uint64) {
	for _, b := range []byte(s) {
		n = n*10 + uint64(b-'0')
	}
	return n
}

// ofRequest is RFC 9112 section 6.3 without its leniency: where that says "may",
// servers differ.
func (f *fields) ofRequest(m *Message) (framed framing, why Reason) {
	switch {
	case f.lengths > 0 && f.coding != noCoding:
		return framing{}, BothLengths
	case f.framingWhy != None:
		return framing{}, f.framingWhy
	case f.coding != noCoding && m.Version == "1.0":
		return framing{}, TransferEncoding10
	case f.coding == lastOther:
		return framing{}, TransferEncoding
	case f.coding == lastChunked:
		framed.chunked = true
	case f.lengths > 0:
		framed.length = decimal(f.length)
	}
	if m.Method == "CONNECT" && framed != (framing{}) {
		return framing{}, ConnectBody
	}
	return framed, None
}

// ofResponse is for responses that have a body.
func (f *fields) ofResponse(m *Message) (framed framing, why Reason) {
	switch {
	case f.lengths > 0 && f.coding != noCoding:
		return framing{}, BothLengths
	case f.framingWhy != None:
		return framing{}, f.framingWhy
	case f.coding != noCoding && m.Version == "1.0":
		return framing{}, TransferEncoding10
	case f.coding == lastChunked:
		framed.chunked = true
	case f.coding == lastOther || f.lengths == 0:
		framed.untilClose = true
	default:
		framed.length = decimal(f.length)
	}
	return framed, None
}
