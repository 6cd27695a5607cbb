package dns

import "encoding/binary"

// EDNS is what a message's OPT record says (RFC 6891).
type EDNS struct {
	// Present: the other fields are valid.
	Present bool
	// UDPSize is the longest datagram that the sender takes, in bytes.
	UDPSize uint16
	Version uint8
	// DNSSEC is the flag DO: signatures are wanted.
	DNSSEC bool
	// HasError: Error and ErrorText are valid. They are the first extended error
	// (RFC 8914); the text is whatever the server wrote.
	HasError  bool
	Error     uint16
	ErrorText []byte
}

const (
	flagDO              = 1 << 15
	optionExtendedError = 15
)

// option reads an OPT record. It has to be the root's, and the only one, in the
// additional section: servers refuse the message otherwise. The name is judged as
// it stands, a single zero.
func (m *Message) option(r *Record, section int) Problem {
	if section != 3 || m.EDNS.Present || r.Name.msg[r.Name.at] != 0 {
		return BadOPT
	}
	m.EDNS = EDNS{
		Present: true,
		UDPSize: r.Class,
		Version: uint8(r.TTL >> 16),
		DNSSEC:  r.TTL&flagDO != 0,
	}
	m.RCode |= uint16(r.TTL>>24) << 4
	for data := r.Data(); len(data) > 0; {
		if len(data) < 4 {
			return BadOPT
		}
		code, length := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if 4+length > len(data) {
			return BadOPT
		}
		if value := data[4 : 4+length]; code == optionExtendedError && length >= 2 && !m.EDNS.HasError {
			m.EDNS.HasError = true
			m.EDNS.Error, m.EDNS.ErrorText = binary.BigEndian.Uint16(value), value[2:]
		}
		data = data[4+length:]
	}
	return None
}
