package hello

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// cipherList has a line for each suite of IANA's registry: its number in hex, its
// name.
//
//go:embed ciphers.txt
var cipherList string

var cipherNames = sync.OnceValue(func() map[uint16]string {
	names := map[uint16]string{}
	for line := range strings.Lines(cipherList) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(number, 16, 16)
		if err != nil {
			panic("hello: list of ciphers: " + err.Error())
		}
		names[uint16(n)] = name
	}
	return names
})

// CipherName is IANA's name of a cipher suite; a number without one is in hex.
func CipherName(suite uint16) string {
	if name := cipherNames()[suite]; name != "" {
		return name
	}
	return fmt.Sprintf("0x%04X", suite)
}
