package dns

import (
	"strconv"

	"github.com/weirnet/weir/internal/policy"
)

// Opcodes (IANA).
const (
	OpQuery  = 0
	OpStatus = 2
	OpNotify = 4 // RFC 1996
	OpUpdate = 5 // RFC 2136
	OpDSO    = 6 // stateful operations, RFC 8490: no questions
)

// OpcodeName is the name of an opcode; OPCODE and its number where it has none.
func OpcodeName(opcode uint8) string {
	switch opcode {
	case OpQuery:
		return "QUERY"
	case 1:
		return "IQUERY"
	case OpStatus:
		return "STATUS"
	case OpNotify:
		return "NOTIFY"
	case OpUpdate:
		return "UPDATE"
	case OpDSO:
		return "DSO"
	}
	return "OPCODE" + strconv.Itoa(int(opcode))
}

// rcodes are those of IANA's registry.
var rcodes = [...]string{
	0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN",
	7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 11: "DSOTYPENI", 16: "BADVERS", 17: "BADKEY",
	18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG", 22: "BADTRUNC", 23: "BADCOOKIE",
}

// RCodeName is the name of a response code; RCODE and its number where it has
// none.
func RCodeName(code uint16) string {
	if int(code) < len(rcodes) && rcodes[code] != "" {
		return rcodes[code]
	}
	return "RCODE" + strconv.Itoa(int(code))
}

// typeNames are those of the policy language, by number.
var typeNames = func() (names [512]string) {
	for t := range names {
		names[t] = policy.DNSTypeName(uint16(t))
	}
	return names
}()

// TypeName is the name of a type as the policy language has it; TYPE and its
// number where it has none (RFC 3597).
func TypeName(t uint16) string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return policy.DNSTypeName(t)
}
