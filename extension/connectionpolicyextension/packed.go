package connectionpolicyextension

import (
	"compress/flate"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// packedText is a policy as it was read, with its lists, compressed: it stays in
// memory as long as the policy is in force. Equal ones are equal policies.
type packedText string

// pack compresses t as it is kept on disk.
func (t *policyText) pack() packedText {
	var b strings.Builder
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		k := kept{Source: t.name, Digest: t.digest(), text: t}
		err = k.write(w)
	}
	if err != nil || w.Close() != nil {
		return "" // a strings.Builder takes everything
	}
	return packedText(b.String())
}

func (p packedText) unpack() (*policyText, error) {
	if p == "" {
		return nil, errors.New("there is none")
	}
	k, err := readKept(flate.NewReader(strings.NewReader(string(p))))
	if err != nil {
		return nil, err
	}
	return k.text, nil
}

// diff compares two policies as they were read.
func diff(before, after packedText, at time.Time) (*policy.Changes, error) {
	a, err := before.unpack()
	if err != nil {
		return nil, fmt.Errorf("read the policy before: %w", err)
	}
	b, err := after.unpack()
	if err != nil {
		return nil, fmt.Errorf("read the policy in force: %w", err)
	}
	return policy.Diff(a.document(at), b.document(at))
}
