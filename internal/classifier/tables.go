// Package classifier compiles a policy into lookup tables, which bpf/walk.h
// walks. It is pure: datapath loads what it makes.
//
// Every criterion maps its fact to a row, a bitmap of the entries that the fact
// satisfies; the first bit set in all rows is the first entry that matches. An
// entry is one transport of one rule, in the order of the walk.
package classifier

import (
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// RowWords is the number of 64-bit words in a chunk of a row (bpf/tables.h).
const RowWords = 64

// MaxRowBytes bounds the memory of the rows of one policy.
const MaxRowBytes = 256 << 20

// Tables is a compiled policy.
type Tables struct {
	// Chunks is the length of a row in chunks; 0 without entries.
	Chunks int
	// Rows holds the rows one after the other, Chunks*RowWords words each. Row 0
	// is empty: no entry matches.
	Rows []uint64
	// The prefix tables always have one of length 0. A row number each.
	Source4, Source6           []PrefixRow
	Destination4, Destination6 []PrefixRow
	Services                   Services
	Entries                    []Entry
	// Rules are the names of the walked rules; Entry.Rule is an index into it.
	Rules    []string
	Settings Settings
}

// PrefixRow says which row the addresses have whose longest prefix it is.
type PrefixRow struct {
	Prefix netip.Prefix
	Row    uint32
}

// Services are the rows by port (of ICMP: type and code), IP protocol and
// packet.Direction.
type Services struct {
	SourcePort      [65536]uint16
	DestinationPort [65536]uint16
	Protocol        [256]uint16
	Direction       [4]uint16
}

// Entry is one transport of one rule.
type Entry struct {
	Rule   uint32
	Action policy.Action
	Shadow bool
	// Safeguard: one of the rules that stand first.
	Safeguard bool
	// Undecided: the rule has criteria beyond what the tables know.
	Undecided bool
	// ErrorAllows: an error at one of those may answer allow although the rule
	// says block.
	ErrorAllows bool
	Special     policy.Special
	// Reject is the rule's own choice; nil leaves it to the policy.
	Reject *bool
	// Over is the age a TCP connection must have; 0 means any.
	Over time.Duration
}

// Settings are what the whole policy says.
type Settings struct {
	Prevent bool
	// DefaultAction is 0 for a policy that claims nothing.
	DefaultAction  policy.Action
	Reject         policy.RejectMode
	BlockMalformed bool
	BlockNonIP     bool
	// RelatedICMP lets ICMP errors pass that quote an allowed connection.
	RelatedICMP bool
}

// Row returns the words of row number n.
func (t *Tables) Row(n int) []uint64 {
	words := t.Chunks * RowWords
	return t.Rows[n*words : (n+1)*words]
}
