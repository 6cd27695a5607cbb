package certificate

import (
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Name is a distinguished name: relative names in the order of the encoding, each
// of one attribute or, rarely, more.
type Name [][]Attribute

// Attribute is one of a name.
type Attribute struct {
	// Type is the object identifier in dotted form.
	Type string
	// Value is the text. Encoded is set where it is none.
	Value   string
	Encoded []byte
}

// shortNames are those of RFC 4514, and of what else is common in certificates.
var shortNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
	"2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"2.5.4.5": "SERIALNUMBER", "2.5.4.17": "POSTALCODE", "2.5.4.4": "SN", "2.5.4.42": "GN", "2.5.4.12": "T",
	"2.5.4.13": "DESCRIPTION", "2.5.4.15": "businessCategory", "2.5.4.97": "organizationIdentifier",
	"1.2.840.113549.1.9.1":     "emailAddress",
	"1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
	"1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
	"1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}

// size is about how many bytes it takes.
func (n Name) size() (size int) {
	const attribute = 64 // with its slices
	for _, relative := range n {
		for i := range relative {
			size += attribute + len(relative[i].Type) + len(relative[i].Value) + len(relative[i].Encoded)
		}
	}
	return size
}

const (
	typeCommonName   = "2.5.4.3"
	typeOrganization = "2.5.4.10"
)

// readName reads the content of a Name.
func readName(d der, name *Name) bool {
	for len(d) > 0 {
		var set der
		if !d.element(tagSet, &set) {
			return false
		}
		var relative []Attribute
		for len(set) > 0 {
			var pair, id, content, whole der
			var tag byte
			if !set.element(tagSequence, &pair) || !pair.element(tagOID, &id) || !pair.next(&tag, &content, &whole) {
				return false
			}
			a := Attribute{Type: oid(id)}
			var isText bool
			if a.Value, isText = text(tag, content); !isText {
				a.Encoded = append([]byte(nil), whole...)
			}
			relative = append(relative, a)
		}
		*name = append(*name, relative)
	}
	return true
}

// text is a string in UTF-8. What is not of its type is taken for Latin-1, which is
// mostly what was meant.
func text(tag byte, content der) (s string, isText bool) {
	switch tag {
	case tagBMP:
		if len(content)%2 != 0 {
			return latin(content), true
		}
		units := make([]uint16, len(content)/2)
		for i := range units {
			units[i] = uint16(content[2*i])<<8 | uint16(content[2*i+1])
		}
		return string(utf16.Decode(units)), true
	case tagUniversal:
		if len(content)%4 != 0 {
			return latin(content), true
		}
		var b []byte
		for i := 0; i < len(content); i += 4 {
			b = utf8.AppendRune(b, rune(content[i])<<24|rune(content[i+1])<<16|rune(content[i+2])<<8|rune(content[i+3]))
		}
		return string(b), true
	case tagT61:
		return fromLatin(content), true
	case tagUTF8, 0x12, 0x13, 0x16, 0x19, 0x1a, 0x1b: // numeric, printable, IA5, and their like
		return latin(content), true
	}
	return "", false
}

// latin is content if it is UTF-8, and read as Latin-1 else.
func latin(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	return fromLatin(content)
}

func fromLatin(content []byte) string {
	b := make([]byte, 0, len(content)+8)
	for _, v := range content {
		b = utf8.AppendRune(b, rune(v))
	}
	return string(b)
}

// values are those of the attributes of a type, in order.
func (n Name) values(kind string) (all []string) {
	for _, relative := range n {
		for _, a := range relative {
			if a.Type == kind {
				all = append(all, a.Value)
			}
		}
	}
	return all
}

// CommonNames are the values of CN.
func (n Name) CommonNames() []string { return n.values(typeCommonName) }

// Organizations are the values of O.
func (n Name) Organizations() []string { return n.values(typeOrganization) }

// String is the name by RFC 4514: the last relative name first.
func (n Name) String() string {
	var b strings.Builder
	for i := len(n) - 1; i >= 0; i-- {
		if i < len(n)-1 {
			b.WriteByte(',')
		}
		for j := range n[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			n[i][j].write(&b)
		}
	}
	return b.String()
}

func (a *Attribute) write(b *strings.Builder) {
	short := shortNames[a.Type]
	if short == "" {
		short = a.Type
	}
	b.WriteString(short)
	b.WriteByte('=')
	if a.Encoded != nil {
		b.WriteByte('#')
		b.WriteString(hex.EncodeToString(a.Encoded))
		return
	}
	for i, r := range a.Value {
		switch {
		case r == 0:
			b.WriteString(`\00`)
			continue
		case strings.ContainsRune(`,+"\<>;`, r),
			i == 0 && (r == ' ' || r == '#'),
			i == len(a.Value)-1 && r == ' ':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
}

// OneLine is the name as OpenSSL and Suricata print it: in the order of the
// encoding, nothing escaped.
func (n Name) OneLine() string {
	var b strings.Builder
	for _, relative := range n {
		for _, a := range relative {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			short := shortNames[a.Type]
			switch short {
			case "":
				short = a.Type
			case "emailAddress":
				short = "Email"
			}
			b.WriteString(short + "=" + a.Value)
		}
	}
	return b.String()
}
