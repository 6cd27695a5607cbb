package dns

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
)

// AppendText appends the record's data in the way of master files, on one line
// and bounded (MaxText, a name more at most): an address, a name, `10
// mail.example.com`, the character strings of a TXT record with a space between.
// Types that are not understood, and data that are malformed, are written as RFC
// 3597 has it: \# LENGTH HEX.
func (r *Record) AppendText(to []byte) []byte {
	from := len(to)
	if text, ok := r.appendKnown(to); ok {
		return text
	}
	data := r.Data()
	to = append(to[:from], `\# `...)
	to = strconv.AppendInt(to, int64(len(data)), 10)
	if len(data) > 0 {
		to = append(to, ' ')
		to = hex.AppendEncode(to, data[:min(len(data), MaxText/2)])
	}
	if len(data) > MaxText/2 {
		to = append(to, "..."...)
	}
	return to
}

func (r *Record) appendKnown(to []byte) ([]byte, bool) {
	data := r.Data()
	if addr, ok := r.Addr(); ok {
		return addr.AppendTo(to), true
	}
	switch r.Type {
	case TypeCNAME, TypeDNAME, TypeNS, TypePTR:
		name, ok := r.Target()
		return name.AppendText(to), ok
	case TypeMX:
		name, ok := r.Target()
		if !ok {
			return to, false
		}
		return name.AppendText(r.appendNumbers(to, 1)), true
	case TypeSRV:
		name, ok := r.Target()
		if !ok {
			return to, false
		}
		return name.AppendText(r.appendNumbers(to, 3)), true
	case TypeSOA:
		return r.appendSOA(to)
	case TypeTXT, TypeSPF:
		return appendStrings(to, data)
	case TypeSVCB, TypeHTTPS:
		return r.appendService(to)
	case typeCAA:
		return appendCAA(to, data)
	case typeSSHFP:
		return appendDigest(to, data, 1, 1)
	case typeDS, typeCDS:
		return appendDigest(to, data, 2, 1, 1)
	case typeTLSA, typeSMIMEA:
		return appendDigest(to, data, 1, 1, 1)
	}
	return to, false
}

// appendNumbers appends the data's first words of 16 bits, each with a space.
func (r *Record) appendNumbers(to []byte, n int) []byte {
	for data := r.Data(); n > 0; n-- {
		to = strconv.AppendUint(to, uint64(binary.BigEndian.Uint16(data)), 10)
		to = append(to, ' ')
		data = data[2:]
	}
	return to
}

// appendSOA: server, mailbox, serial, refresh, retry, expire, minimum.
func (r *Record) appendSOA(to []byte) ([]byte, bool) {
	server, at, ok := r.nameAt(r.at)
	if !ok {
		return to, false
	}
	mailbox, at, ok := r.nameAt(at)
	if !ok || at+20 != r.end {
		return to, false
	}
	to = append(server.AppendText(to), ' ')
	to = mailbox.AppendText(to)
	for ; at < r.end; at += 4 {
		to = append(to, ' ')
		to = strconv.AppendUint(to, uint64(binary.BigEndian.Uint32(r.Name.msg[at:])), 10)
	}
	return to, true
}

// appendStrings appends character strings. Spaces inside of them stay as they
// are: it is for reading.
func appendStrings(to, data []byte) ([]byte, bool) {
	from := len(to)
	for i := 0; len(data) > 0; i++ {
		length := int(data[0])
		if 1+length > len(data) {
			return to, false
		}
		if i > 0 && len(to)-from < MaxText {
			to = append(to, ' ')
		}
		for _, b := range data[1 : 1+length] {
			if len(to)-from >= MaxText {
				break
			}
			if b == ' ' {
				to = append(to, b)
			} else {
				to = appendEscaped(to, b, false)
			}
		}
		data = data[1+length:]
	}
	if len(to)-from >= MaxText {
		to = append(to, "..."...)
	}
	return to, true
}

// AppendAnswers appends the texts of the message's answers to strings, at most n.
// It is for the event of a query, and allocates.
func (m *Message) AppendAnswers(to []string, n int) []string {
	var buffer [256]byte
	for i := range min(n, len(m.Answers)) {
		to = append(to, string(m.Answers[i].AppendText(buffer[:0])))
	}
	return to
}

// appendAddrs appends addresses of the given size, with commas.
func appendAddrs(to, data []byte, size int) ([]byte, bool) {
	if len(data) == 0 || len(data)%size != 0 {
		return to, false
	}
	for i := 0; i < len(data); i += size {
		if i > 0 {
			to = append(to, ',')
		}
		addr, _ := netip.AddrFromSlice(data[i : i+size])
		to = addr.AppendTo(to)
	}
	return to, true
}
