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
type packedText struct {
	data   string // empty where there is none
	digest string // of the policyText
}

// pack compresses t as it is kept on disk.
func (t *policyText) pack() packedText {
	var b strings.Builder
	k := kept{Source: t.name, Digest: t.digest(), text: t}
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		err = errors.Join(k.write(w), w.Close())
	}
	if err != nil {
		return packedText{} // not of a strings.Builder, which takes everything
	}
	return packedText{data: b.String(), digest: k.Digest}
}

func (p packedText) unpack() (*policyText, error) {
	if p.data == "" {
		return nil, errors.New("its text is not known")
	}
	k, err := readKept(flate.NewReader(strings.NewReader(p.data)))
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
