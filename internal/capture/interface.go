package capture

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// Options of an interface description that matter here (draft-ietf-opsawg-pcapng
// section 4.2), and their lengths.
const (
	optionEnd        = 0
	optionResolution = 9
	optionOffset     = 14
	optionHeader     = 4
	resolutionBinary = 0x80
	secondPower10    = 19 // the most digits of a second's fraction in 64 bits
	secondPower2     = 63
)

// maxOptions is how many bytes of an interface's options are looked at.
const maxOptions = 64 << 10

// networkInterface is what is known of an interface. Its time stamps count units
// since 1970, of which a second has perSecond.
type networkInterface struct {
	link       packet.LinkType
	snapLength uint32 // 0: none
	perSecond  uint64
	offset     int64 // seconds
}

// networkInterface reads an interface description block.
func (n *pcapng) networkInterface(b *block) error {
	if len(n.interfaces) == MaxInterfaces {
		return &FormatError{b.began, fmt.Sprintf("more than %d interfaces", MaxInterfaces)}
	}
	h, err := n.fixed(b, interfaceFixed)
	if err != nil {
		return err
	}
	i := networkInterface{
		link:       packet.LinkType(n.order.Uint16(h)),
		snapLength: n.order.Uint32(h[4:]),
		perSecond:  1e6,
	}
	options, err := n.fixed(b, int(min(b.body, maxOptions)))
	if err != nil {
		return err
	}
	if what := n.options(&i, options); what != "" {
		return &FormatError{b.began, what}
	}
	n.interfaces = append(n.interfaces, i)
	return n.finish(b)
}

// options reads what concerns time stamps, and returns what is wrong with it. A
// list that is cut off is read as far as it goes.
func (n *pcapng) options(i *networkInterface, b []byte) (what string) {
	for len(b) >= optionHeader {
		code, length := n.order.Uint16(b), int(n.order.Uint16(b[2:]))
		b = b[optionHeader:]
		if code == optionEnd || length > len(b) {
			return ""
		}
		switch {
		case code == optionResolution && length == 1:
			var ok bool
			if i.perSecond, ok = perSecond(b[0]); !ok {
				return fmt.Sprintf("time stamps finer than are read (if_tsresol %#x)", b[0])
			}
		case code == optionOffset && length == 8:
			i.offset = int64(n.order.Uint64(b))
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return ""
}

// perSecond reads if_tsresol: a power of 10 or, with the highest bit set, of 2.
func perSecond(resolution byte) (uint64, bool) {
	power := resolution &^ resolutionBinary
	if resolution&resolutionBinary != 0 {
		return 1 << min(power, secondPower2), power <= secondPower2
	}
	units := uint64(1)
	for range min(power, secondPower10) {
		units *= 10
	}
	return units, power <= secondPower10
}

// time converts a time stamp of the interface.
func (i *networkInterface) time(count uint64) time.Time {
	seconds := count / i.perSecond
	high, low := bits.Mul64(count%i.perSecond, 1e9)
	nanoseconds, _ := bits.Div64(high, low, i.perSecond) // high < perSecond
	return time.Unix(int64(seconds)+i.offset, int64(nanoseconds)).UTC()
}
