package connectionpolicyextension

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// policyText is a policy as it was read, complete.
type policyText struct {
	// name is what messages call it.
	name    string
	content []byte
	// lists are the list files, by their names in the policy.
	lists map[string][]byte
}

// parse reads the policy without any other file.
func (t *policyText) parse(now time.Time) (*policy.Policy, error) {
	p, _, err := policy.Load(t.document(now))
	return p, err
}

func (t *policyText) document(now time.Time) policy.Document {
	return policy.Document{
		Name: t.name, Content: t.content, Now: now,
		Service: true, // it was read before, as it is
		Open: func(name string) ([]byte, error) {
			content, ok := t.lists[name]
			if !ok {
				return nil, fmt.Errorf("the list %s was not kept", name)
			}
			return content, nil
		},
	}
}

func (t *policyText) listNames() []string {
	names := make([]string, 0, len(t.lists))
	for name := range t.lists {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// digest is the same for policies that say the same in the same words.
func (t *policyText) digest() string {
	hash := sha256.New()
	add := func(b []byte) { fmt.Fprintf(hash, "%d\n%s", len(b), b) }
	add(t.content)
	for _, name := range t.listNames() {
		add([]byte(name))
		add(t.lists[name])
	}
	return base64.StdEncoding.EncodeToString(hash.Sum(nil))
}

// kept is the last good policy as it is stored: a tar archive of about.json, the
// policy, and its lists as list/0, list/1 in the order of their names in about.json.
type kept struct {
	Source string    `json:"source"`
	Number uint64    `json:"generation"`
	Loaded time.Time `json:"loaded"`
	Digest string    `json:"digest"`
	Lists  []string  `json:"lists"`
	// Seen are the marks of the files that it came from, in base64.
	Marks map[string]string `json:"files"`

	Seen fingerprint `json:"-"`
	text *policyText
}

const maxAboutSize = 16 << 20

func (k *kept) write(f io.Writer) error {
	k.Lists = k.text.listNames()
	k.Marks = map[string]string{}
	for path, mark := range k.Seen {
		k.Marks[path] = base64.StdEncoding.EncodeToString([]byte(mark))
	}
	about, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	archive := tar.NewWriter(f)
	add := func(name string, content []byte) error {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: k.Loaded})
		if err == nil {
			_, err = archive.Write(content)
		}
		return err
	}
	err = errors.Join(add("about.json", about), add("policy", k.text.content))
	for i, name := range k.Lists {
		err = errors.Join(err, add("list/"+strconv.Itoa(i), k.text.lists[name]))
	}
	return errors.Join(err, archive.Close())
}

// readKept reads what write wrote, and nothing else.
func readKept(f io.Reader) (*kept, error) {
	archive := tar.NewReader(f)
	next := func(name string, limit int64) ([]byte, error) {
		header, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("find %s in it: %w", name, err)
		}
		if header.Name != name || header.Size > limit {
			return nil, fmt.Errorf("it has %.40q of %d bytes where %s of at most %d belongs", header.Name, header.Size, name, limit)
		}
		return io.ReadAll(archive)
	}
	about, err := next("about.json", maxAboutSize)
	if err != nil {
		return nil, err
	}
	k := &kept{Seen: fingerprint{}}
	if err := json.Unmarshal(about, k); err != nil {
		return nil, fmt.Errorf("read about.json in it: %w", err)
	}
	for path, mark := range k.Marks {
		raw, err := base64.StdEncoding.DecodeString(mark)
		if err != nil {
			return nil, fmt.Errorf("read about.json in it: %w", err)
		}
		k.Seen[path] = string(raw)
	}
	k.text = &policyText{name: k.Source, lists: map[string][]byte{}}
	if k.text.content, err = next("policy", policy.MaxPolicySize); err != nil {
		return nil, err
	}
	left := int64(maxListsSize)
	for i, name := range k.Lists {
		if k.text.lists[name], err = next("list/"+strconv.Itoa(i), min(left, policy.MaxListSize)); err != nil {
			return nil, err
		}
		left -= int64(len(k.text.lists[name]))
	}
	if k.text.digest() != k.Digest {
		return nil, errors.New("its content is not what was written: the digest differs")
	}
	return k, nil
}
