// Package classifier compiles a policy into lookup tables, which bpf/walk.h
// walks. It is pure: datapath loads what it makes.
//
// An entry is one transport of one rule, in the order of the walk. Every
// criterion maps its fact to a row, a bitmap of the entries that the fact
// satisfies; the first bit set in all rows is the first entry that matches. In
// large policies, entries for few addresses would make a row for each of them:
// those hang on the addresses instead, as lists of items. The walk merges the
// rows and the lists by the entries' order.
package classifier

import (
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// The sizes of bpf/tables.h.
const (
	// RowWords is the number of 64-bit words in a chunk of a row.
	RowWords = 64
	// MaxChunks bounds the length of a row.
	MaxChunks = 32
	chunkBits = RowWords * 64
	maxBits   = MaxChunks * chunkBits
)

// MaxBytes bounds the memory of the tables of one policy.
const MaxBytes = 256 << 20

// Tables is a compiled policy.
type Tables struct {
	// Chunks is the length of a row in chunks; 0 without entries.
	Chunks int
	// Rows holds the rows one after the other, Chunks*RowWords words each. Row 0
	// is empty: no entry matches.
	Rows []uint64
	// Summaries has one for each row.
	Summaries []Summary
	// Source and Destination say which row and list an address has.
	Source, Destination Addresses
	Services            Services
	// Items are the lists, one after the other.
	Items []Item
	// Entries are first those of the rows, one for each bit, then those of the
	// lists; both in the order of the walk.
	Entries []Entry
	// Rules are the names of the walked rules; Entry.Rule is an index into it.
	Rules    []string
	Settings Settings
}

// Summary tells the empty parts of a row, so that they need not be read.
type Summary struct {
	Chunks uint32            // a bit for each chunk that has a bit set
	Words  [MaxChunks]uint64 // of each chunk, a bit for each word that has a bit set
}

// Addresses are the tries of one side of a connection.
type Addresses struct{ IPv4, IPv6 Trie }

// Class is what an address is to the policy: its row and its list.
type Class struct {
	Row uint32
	// First and Count are the list: Items[First:First+Count].
	First, Count uint32
}

// Services are the rows by port (of ICMP: type and code), and by
// packet.Direction and IP protocol.
type Services struct {
	SourcePort      [65536]uint16
	DestinationPort [65536]uint16
	Protocol        [4][256]uint16
}

// Item is an entry that hangs on the addresses of one of its sides, with its
// other criteria. An entry with several ports or addresses has several items.
type Item struct {
	Entry uint32 // index of Tables.Entries
	Order uint32 // Entry.Order
	// Source and Destination are the ports, of ICMP type and code.
	Source, Destination policy.Range
	Protocol            uint8
	AnyProtocol         bool
	Direction           policy.DirectionSet
	// Other is the prefix of the other side's address; of length 0: any.
	Other     Key
	OtherBits uint8

	family uint8 // of Other, 4 or 6; 0: any
}

// Entry is one transport of one rule.
type Entry struct {
	// Order is its place in the walk.
	Order  uint32
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
	// Expires is when the rule stops matching; zero: never.
	Expires time.Time
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
	// OnError are the answers to rules whose facts cannot be had, by cause.
	OnError policy.OnError
}

// Row returns the words of row number n.
func (t *Tables) Row(n int) []uint64 {
	words := t.Chunks * RowWords
	return t.Rows[n*words : (n+1)*words]
}
