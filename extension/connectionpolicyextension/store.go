package connectionpolicyextension

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weirnet/weir/internal/securefile"
)

// store keeps the last good policy and the last number in a folder that only root
// and the service user can read.
type store struct {
	folder, name string
	// path is the file of the policy, numberPath that of the number.
	path, numberPath string
	source           string
}

const maxNumberSize = 64

// newStore names the files after the extension and where its policy comes from:
// another one's is never taken.
func newStore(folder, id, source string) *store {
	sum := sha256.Sum256([]byte(source))
	name := strings.ReplaceAll(id, "/", "_") + "-" + hex.EncodeToString(sum[:4])
	return &store{
		folder: folder, name: name, source: source,
		path:       filepath.Join(folder, name+".policy.tar"),
		numberPath: filepath.Join(folder, name+".generation"),
	}
}

// number is that of the last policy handed out; 0 where none is known.
func (s *store) number() (uint64, error) {
	var content bytes.Buffer
	err := securefile.Copy(&content, s.numberPath, securefile.Private, maxNumberSize)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the number of the last policy: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(content.String()), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the number of the last policy from %s: found %.40q, accepted is a number", s.numberPath, content.String())
	}
	return n, nil
}

func (s *store) saveNumber(n uint64) error {
	return s.write(s.numberPath, func(f *os.File) error {
		_, err := fmt.Fprintln(f, n)
		return err
	})
}

// save replaces the policy that is kept.
func (s *store) save(number uint64, loaded time.Time, seen fingerprint, text *policyText) error {
	k := &kept{Source: s.source, Number: number, Loaded: loaded, Seen: seen, Digest: text.digest(), text: text}
	return s.write(s.path, func(f *os.File) error { return k.write(f) })
}

func (s *store) load() (*kept, error) {
	f, err := securefile.Open(s.path, securefile.Private)
	if err != nil {
		return nil, fmt.Errorf("open the policy that was kept: %w", err)
	}
	defer f.Close()
	k, err := readKept(f)
	if err != nil {
		return nil, fmt.Errorf("read the policy that was kept, %s: %w", s.path, err)
	}
	if k.Source != s.source {
		return nil, fmt.Errorf("the policy that was kept, %s, is of %s", s.path, k.Source)
	}
	return k, nil
}

// write replaces a file in one step.
func (s *store) write(path string, content func(*os.File) error) error {
	if err := securefile.Replace(path, content); err != nil {
		return fmt.Errorf("keep the last good policy: %w", err)
	}
	return nil
}
