package dns

import "encoding/binary"

// Match says whether bytes are DNS.
type Match uint8

// The answers.
const (
	No Match = iota
	Yes
	More // MaxDetect bytes settle it
)

// MaxDetect is how many bytes of a connection are needed at most to tell: length,
// header, a question.
const MaxDetect = lengthBytes + headerBytes + maxName + 4

// Detect says whether a datagram is a message. The port is where it goes, or
// comes from if that is a server's: on a port of DNS whatever a tolerant server
// would read is taken, elsewhere what no other protocol looks like.
func Detect(data []byte, port uint16) Match {
	switch {
	case port == portNetBIOS:
		return No
	case isServed(port):
		if len(data) < headerBytes {
			return No
		}
		return Yes
	case plausible(data, len(data)) == Yes:
		return Yes
	}
	return No
}

// DetectStream says whether a connection begins with a message, in the same way.
func DetectStream(data []byte, port uint16) Match {
	if len(data) < lengthBytes {
		return More
	}
	length := int(binary.BigEndian.Uint16(data))
	switch {
	case isServed(port):
		return Yes // servers answer, or hang up: malformed
	case length < headerBytes+5:
		return No
	}
	return plausible(data[lengthBytes:min(len(data), lengthBytes+length)], length)
}

// portNetBIOS is that of NetBIOS names (RFC 1002), whose messages look like those
// of DNS.
const portNetBIOS = 137

func isServed(port uint16) bool { return port == Port || port == PortMDNS || port == PortLLMNR }

// hasOpcode says whether a message with this byte of flags is one that servers take.
func hasOpcode(flags byte) bool {
	switch flags >> 3 & 0xf {
	case OpQuery, OpStatus, OpNotify, OpUpdate:
		return true
	}
	return false
}

// plausible says whether the beginning of a message of that length is one as
// servers read it, whatever they answer: an opcode that exists, questions, few, of
// classes that exist, and no more records than the bytes have room for. Flags and
// codes that mean nothing in a query are nothing to a server.
func plausible(data []byte, length int) Match {
	const (
		shortest  = 11 // of a record: the root, type, class, TTL, length
		questions = 8
	)
	// What there is of the header can be enough to say no: lines of text are none.
	if len(data) > 2 && !hasOpcode(data[2]) || len(data) > 5 && int(binary.BigEndian.Uint16(data[4:])) > questions {
		return No
	}
	if len(data) < headerBytes {
		if len(data) < length {
			return More
		}
		return No
	}
	var counts [4]int
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(data[4+2*i:]))
	}
	if counts[0] < 1 || counts[0] > questions {
		return No
	}
	at := headerBytes
	for i := range counts[0] {
		end, problem := readName(data, at)
		if problem == None && end+4 > len(data) {
			problem = Short
		}
		switch {
		case problem == Short && len(data) < length && i == 0:
			return More
		case problem == Short && len(data) < length:
			return Yes // the first will do
		case problem != None:
			return No
		}
		switch class := binary.BigEndian.Uint16(data[end+2:]) &^ classFlag; class {
		case classIN, 3, 4, 254, 255: // CH, HS, NONE, ANY
		default:
			return No
		}
		at = end + 4
	}
	records := counts[1] + counts[2] + counts[3]
	if rest := length - at; records*shortest > rest || records == 0 && rest > 0 {
		return No
	}
	return Yes
}
