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

func isServed(port uint16) bool { return port == Port || port == PortMDNS || port == PortLLMNR }

// plausible says whether the beginning of a message of that length is one as
// usual: an opcode and a response code that exist, one question of a class that
// exists, and no more records than the bytes have room for.
func plausible(data []byte, length int) Match {
	const shortest = 11 // of a record: the root, type, class, TTL, length
	if len(data) < headerBytes {
		if len(data) < length {
			return More
		}
		return No
	}
	flags := binary.BigEndian.Uint16(data[2:])
	opcode, isAnswer := uint8(flags>>11&0xf), flags&flagQR != 0
	records := 0
	for i := 6; i < headerBytes; i += 2 {
		records += int(binary.BigEndian.Uint16(data[i:]))
	}
	answers := binary.BigEndian.Uint16(data[6:])
	switch {
	case opcode != OpQuery && opcode != OpNotify && opcode != OpUpdate && opcode != OpStatus,
		flags&flagZ != 0,
		binary.BigEndian.Uint16(data[4:]) != 1,
		flags&0xf > 10, // the codes of a header's four bits that exist
		!isAnswer && opcode == OpQuery && (answers != 0 || flags&0xf != 0):
		return No
	}
	end, problem := readName(data, headerBytes)
	if problem == None && end+4 > len(data) {
		problem = Short
	}
	switch {
	case problem == Short && len(data) < length:
		return More
	case problem != None || records*shortest > length-end-4:
		return No
	}
	switch class := binary.BigEndian.Uint16(data[end+2:]); class {
	case classIN, 3, 4, 254, 255: // CH, HS, NONE, ANY
	default:
		return No
	}
	if records == 0 && end+4 != length {
		return No
	}
	return Yes
}
