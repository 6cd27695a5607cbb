package dns

import (
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Keys of service parameters (RFC 9460 section 14.3).
const (
	keyMandatory = 0
	keyALPN      = 1
	keyNoDefault = 2
	keyPort      = 3
	keyIPv4Hint  = 4
	keyECH       = 5
	keyIPv6Hint  = 6
	keyDoHPath   = 7
)

var serviceKeys = [...]string{
	"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp",
}

// appendKey appends the name of a parameter.
func appendKey(to []byte, key uint16) []byte {
	if int(key) < len(serviceKeys) {
		return append(to, serviceKeys[key]...)
	}
	return strconv.AppendUint(append(to, "key"...), uint64(key), 10)
}

// parameters are the parameters of a SVCB or HTTPS record: everything after its
// target. False: there are none, because the record is malformed.
func (r *Record) parameters() (data []byte, ok bool) {
	if r.Type != TypeSVCB && r.Type != TypeHTTPS {
		return nil, false
	}
	_, at, ok := r.nameAt(r.at + 2)
	if !ok {
		return nil, false
	}
	return r.Name.msg[at:r.end], true
}

// parameter takes the first parameter off. Keys have to rise (RFC 9460 section
// 2.2): whoever reads records of another order may understand them otherwise.
func parameter(data []byte, last int) (key uint16, value, rest []byte, ok bool) {
	if len(data) < 4 {
		return 0, nil, nil, false
	}
	key = binary.BigEndian.Uint16(data)
	end := 4 + int(binary.BigEndian.Uint16(data[2:]))
	if end > len(data) || int(key) <= last {
		return 0, nil, nil, false
	}
	return key, data[4:end], data[end:], true
}

// AppendHints appends the addresses that a SVCB or HTTPS record gives for its
// target; nothing of one that is malformed or an alias.
func (r *Record) AppendHints(to []netip.Addr) []netip.Addr {
	data, ok := r.parameters()
	if !ok || r.Class != classIN || binary.BigEndian.Uint16(r.Data()) == 0 {
		return to
	}
	found := to
	for last := -1; len(data) > 0; {
		key, value, rest, ok := parameter(data, last)
		size := hintSize(key)
		if !ok || size != 0 && (len(value) == 0 || len(value)%size != 0) {
			return to // all or nothing: clients ignore such a record
		}
		for i := 0; size != 0 && i < len(value); i += size {
			addr, _ := netip.AddrFromSlice(value[i : i+size])
			found = append(found, addr)
		}
		data, last = rest, int(key)
	}
	return found
}

// hintSize is the length of a hint's addresses, 0 of what is no hint.
func hintSize(key uint16) int {
	switch key {
	case keyIPv4Hint:
		return 4
	case keyIPv6Hint:
		return 16
	}
	return 0
}

// appendService: priority, target, parameters.
func (r *Record) appendService(to []byte) ([]byte, bool) {
	data, ok := r.parameters()
	if !ok {
		return to, false
	}
	from := len(to)
	name, _, _ := r.nameAt(r.at + 2)
	to = name.AppendText(r.appendNumbers(to, 1))
	for last := -1; len(data) > 0; {
		key, value, rest, ok := parameter(data, last)
		if !ok {
			return to, false
		}
		to = appendKey(append(to, ' '), key)
		if key != keyNoDefault {
			to = append(to, '=')
		}
		if to, ok = appendValue(to, key, value); !ok {
			return to, false
		}
		if len(to)-from > MaxText {
			return append(to[:from+MaxText], "..."...), true
		}
		data, last = rest, int(key)
	}
	return to, true
}

// appendValue appends the value of a parameter; one that is long is cut.
func appendValue(to []byte, key uint16, value []byte) ([]byte, bool) {
	const long = MaxText / 4
	switch key {
	case keyALPN:
		for first := true; len(value) > 0; first = false {
			length := int(value[0])
			if length == 0 || 1+length > len(value) {
				return to, false
			}
			if !first {
				to = append(to, ',')
			}
			for _, b := range value[1 : 1+length] {
				to = appendEscaped(to, b, b == ',')
			}
			value = value[1+length:]
		}
		return to, true
	case keyPort:
		if len(value) != 2 {
			return to, false
		}
		return strconv.AppendUint(to, uint64(binary.BigEndian.Uint16(value)), 10), true
	case keyIPv4Hint, keyIPv6Hint:
		return appendAddrs(to, value, hintSize(key))
	case keyMandatory:
		for i := 0; i+1 < len(value); i += 2 {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendKey(to, binary.BigEndian.Uint16(value[i:]))
		}
		return to, len(value) > 0 && len(value)%2 == 0
	case keyNoDefault:
		return to, len(value) == 0
	case keyECH:
		return base64.StdEncoding.AppendEncode(to, value[:min(len(value), long)]), true
	}
	for _, b := range value[:min(len(value), long)] {
		to = appendEscaped(to, b, false)
	}
	return to, true
}
