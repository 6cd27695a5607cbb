package hello

import (
	"strings"
	"unicode/utf8"

	"github.com/weirnet/weir/internal/policy"
)

// longestName is the most bytes of a server name that are taken: of names of the
// DNS 253 suffice.
const longestName = 1024

// serverName reads the extension of RFC 6066 section 3.
func (h *Client) serverName(data cursor) bool {
	h.ServerName = policy.Lost[string](policy.Malformed)
	var list cursor
	if !data.vector16(&list) || len(data) != 0 || len(list) == 0 {
		return false
	}
	found := false
	for len(list) > 0 {
		var kind uint8
		var name cursor
		if !list.u8(&kind) || !list.vector16(&name) {
			return false
		}
		if kind != 0 {
			continue // not a host name; none other was ever defined
		}
		// More than one name of a kind is forbidden, and servers differ in which
		// one they take.
		if found || !isHostName(name) {
			h.ServerName = policy.Lost[string](policy.Malformed)
			return false
		}
		found = true
		h.ServerName = policy.Is(normal(string(name)))
	}
	if !found {
		h.ServerName = policy.Missing[string]()
	}
	return true
}

// isHostName says whether servers read the bytes as one and the same name. A NUL
// ends the name for some of them, and a space or a control character may be trimmed.
func isHostName(name []byte) bool {
	if len(name) == 0 || len(name) > longestName || string(name) == "." {
		return false
	}
	for _, b := range name {
		if b <= ' ' || b == 0x7f {
			return false
		}
	}
	return utf8.Valid(name)
}

// normal is the name as rules compare it; what is not ASCII (RFC 4366 allowed
// UTF-8) the policy maps itself.
func normal(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
