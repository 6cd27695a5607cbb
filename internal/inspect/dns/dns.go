// Package dns reads DNS messages (RFC 1035 and what came after), a datagram at a
// time or from the bytes of a connection: what was asked, what was answered, and
// what is wrong with a message. It is pure: no goroutines, no clock but the times
// that are passed in, no I/O. Names are never copied out of a message until
// somebody asks for their text.
package dns

// End is an end of a connection.
type End uint8

// The ends.
const (
	Client End = iota // the connection's initiator
	Server
)

// Protocol tells the relatives of DNS apart, which share its messages.
type Protocol uint8

// The protocols.
const (
	DNS   Protocol = iota
	MDNS           // multicast DNS (RFC 6762): several questions are usual, the top bit of a class is a flag
	LLMNR          // link-local multicast name resolution (RFC 4795): the flags differ
)

// String is the protocol's name in lower case.
func (p Protocol) String() string {
	switch p {
	case MDNS:
		return "mdns"
	case LLMNR:
		return "llmnr"
	}
	return "dns"
}

// Well-known ports.
const (
	Port      = 53
	PortTLS   = 853 // DNS over TLS (RFC 7858) and QUIC (RFC 9250): not readable here
	PortMDNS  = 5353
	PortLLMNR = 5355
)

// ProtocolOf tells by the ports of a packet which protocol its messages are of.
// A legacy multicast query (RFC 6762 section 6.7) comes from another port, its
// answer goes there: either port decides.
func ProtocolOf(source, destination uint16) Protocol {
	switch {
	case destination == PortMDNS, source == PortMDNS && destination != Port:
		return MDNS
	case destination == PortLLMNR, source == PortLLMNR && destination != Port:
		return LLMNR
	}
	return DNS
}

// IsTLSName says whether an ALPN identifier means DNS over TLS or QUIC.
func IsTLSName(alpn string) bool { return alpn == "dot" || alpn == "doq" }

// Bounds of what is kept of one message. All of it is read.
const (
	MaxQuestions = 64
	MaxAnswers   = 512
	// MaxText is about how long the text of one answer can be, in bytes.
	MaxText = 1024
)

const (
	headerBytes = 12
	// maxName is the length of a name on the wire (RFC 1035 2.3.4).
	maxName = 255
	// maxPointers is how many compression pointers a name may follow: one for each
	// label that it can have. Chains without labels between them say nothing.
	maxPointers = 127
)

// Flags of the header's second word. LLMNR has C (conflict) in place of AA and T
// (tentative) in place of RD.
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagAD = 1 << 5
	flagCD = 1 << 4
)

// Classes that mean something here.
const (
	classIN = 1
	// classFlag is mDNS's: a question wants a unicast answer, a record replaces
	// what is cached.
	classFlag = 1 << 15
)

// Types whose data is understood.
const (
	TypeA     = 1
	TypeNS    = 2
	TypeCNAME = 5
	TypeSOA   = 6
	TypePTR   = 12
	TypeMX    = 15
	TypeTXT   = 16
	TypeAAAA  = 28
	TypeSRV   = 33
	TypeDNAME = 39
	typeOPT   = 41
	TypeSVCB  = 64
	TypeHTTPS = 65
	TypeSPF   = 99
	TypeANY   = 255
)

// Problem says what is wrong with a message; None in one that is whole.
type Problem uint8

// The problems. After one, what came before it is valid.
const (
	None      Problem = iota
	Short             // it ends before what its counts promise
	Cut               // the rest of it was not handed over: a limit
	Unseen            // bytes of it were lost on the way here
	Ended             // its connection ended inside of it
	BadLabel          // a label of a kind that nobody uses (RFC 6891 section 5)
	BadPtr            // a compression pointer that does not point back, or into the header
	LongName          // a name of more than 255 bytes
	ManyPtrs          // a name of more pointers than it can have labels
	BadOPT            // an OPT record that is not the root's, or a second one (RFC 6891 section 6.1.1)
	BadLength         // a length before the message, in a connection, that none can have
)

// String says it in words.
func (p Problem) String() string {
	names := [...]string{
		"", "ends too early", "is longer than the limit", "was not seen as a whole", "connection ended inside the message",
		"label of unknown kind", "compression pointer that does not point back", "name of more than 255 bytes",
		"too many compression pointers", "misplaced OPT record", "impossible length",
	}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown problem"
}
