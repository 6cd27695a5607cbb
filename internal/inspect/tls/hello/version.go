package hello

import "fmt"

// Versions as in the messages.
const (
	SSL20 = 0x0002
	SSL30 = 0x0300
	TLS10 = 0x0301
	TLS11 = 0x0302
	TLS12 = 0x0303
	TLS13 = 0x0304
)

// isDraft says whether the number stands for a draft of TLS 1.3: IETF's, or what
// large sites made of them while they were current.
func isDraft(version uint16) bool { return version>>8 == 0x7f || version>>8 == 0xfb }

// IsTLS13 says whether what follows the ServerHello is encrypted.
func IsTLS13(version uint16) bool { return version == TLS13 || isDraft(version) }

// VersionName names a version as the semantic conventions do (tls.protocol.name and
// tls.protocol.version). Drafts of TLS 1.3 are 1.3; a number that was never given
// out is in hex.
func VersionName(version uint16) (protocol, number string) {
	switch {
	case version == SSL20:
		return "ssl", "2"
	case version == SSL30:
		return "ssl", "3"
	case version == TLS10:
		return "tls", "1.0"
	case version == TLS11:
		return "tls", "1.1"
	case version == TLS12:
		return "tls", "1.2"
	case IsTLS13(version):
		return "tls", "1.3"
	}
	return "tls", fmt.Sprintf("0x%04x", version)
}

// CriterionVersion is the version as rules compare it. SSL has no criterion: its
// names equal none.
func CriterionVersion(version uint16) string {
	protocol, number := VersionName(version)
	if protocol == "ssl" {
		return "ssl" + number
	}
	return number
}

// Offered is the highest version that the client offers, as far as it is known here.
func (h *Client) Offered() uint16 {
	best := uint16(0)
	for _, v := range h.Versions {
		if isGREASE(v) {
			continue
		}
		if isDraft(v) {
			v = TLS13
		}
		if v <= TLS13 {
			best = max(best, v)
		}
	}
	if best == 0 {
		return h.Version
	}
	return best
}

// isGREASE says whether a number stands for nothing (RFC 8701).
func isGREASE(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }
