package policy

import (
	"encoding/base64"
	"strings"
)

var sshKeys = []string{"public_keys", "software"}

func (c *cursor) ssh() *SSH {
	s := &SSH{}
	f, _ := c.mapping(sshKeys)
	for _, v := range f {
		switch v.key {
		case "public_keys":
			const accepted = "a fingerprint as ssh-keygen -l shows it: SHA256: and 43 characters"
			v.list(accepted, func(at *cursor) {
				text, ok := at.text(accepted)
				if !ok {
					return
				}
				sum, isSHA := strings.CutPrefix(text, "SHA256:")
				sum = strings.TrimSuffix(sum, "=")
				// 43 characters are 32 bytes; the length also keeps out line ends, which
				// the decoder skips.
				_, err := base64.RawStdEncoding.Strict().DecodeString(sum)
				if !isSHA || err != nil || len(sum) != 43 {
					at.fail(quote(text)+" is not a fingerprint", accepted, "")
					return
				}
				s.PublicKeys = append(s.PublicKeys, "SHA256:"+sum)
			})
		case "software":
			s.Software = v.texts(false, acceptedText)
		}
	}
	return s
}
