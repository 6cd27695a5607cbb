package connectionpolicyextension

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/securefile"
)

// maxListsSize bounds all lists of a policy together, in bytes; a single one is
// bounded by policy.MaxListSize.
const maxListsSize = 4 * policy.MaxListSize

// fingerprint tells what was found when a policy was read: for each file, by
// path, the hash of its content or why it could not be read. Equal fingerprints
// are equal policies, even where a file was renamed over or a link switched.
type fingerprint map[string]string

func (f fingerprint) equal(other fingerprint) bool { return maps.Equal(f, other) }

// candidate is a policy as it was read; policy is nil where err is set.
type candidate struct {
	seen     fingerprint
	policy   *policy.Policy
	warnings []policy.Warning
	err      error
	// text is what was read, to be kept.
	text *policyText
}

// reader reads the policy and the lists that it names.
type reader struct {
	// file is the policy file, or the URL where remote is set; empty where inline is.
	file   string
	inline *yaml.Node
	remote *remote
	// source is what the policy is called in messages and records.
	source string
	// access is securefile.Private unless the checks are switched off.
	access securefile.Access
	// oneFile: the file may have the keys of a file for the scheme weir:.
	oneFile bool
	// listsFolder is where the lists are of policies that come by the API.
	listsFolder string
	now         func() time.Time
}

func newReader(cfg *Config, id string, now func() time.Time) (*reader, error) {
	r := &reader{file: cfg.File, source: cfg.File, access: cfg.access(securefile.Private), oneFile: cfg.OneFile, now: now}
	if cfg.URL.HasValue() {
		var err error
		r.file, r.listsFolder = cfg.URL.Get().Endpoint, cfg.ListsDir
		r.source = r.file
		r.remote, err = newRemote(cfg.URL.Get(), r.access)
		return r, err
	}
	if cfg.Policy == nil {
		r.listsFolder = cfg.ListsDir
		if r.listsFolder == "" {
			r.listsFolder = filepath.Dir(cfg.File)
		}
		return r, nil
	}
	r.source = "extensions::" + id + "::policy"
	root, err := inlineNode(cfg.Policy, r.source)
	if err != nil {
		return nil, err
	}
	r.inline = root
	return r, nil
}

// load reads everything once. What is parsed is what the fingerprint is of.
func (r *reader) load() *candidate { return r.loadText(nil) }

// loadText reads content as if it were in the policy file; nil: what is there.
func (r *reader) loadText(given []byte) *candidate {
	c := &candidate{seen: fingerprint{}, text: &policyText{name: r.source, lists: map[string][]byte{}}}
	total := 0
	doc := policy.Document{Root: r.inline, Service: r.oneFile, Now: r.now()}
	doc.Open = func(name string) ([]byte, error) {
		path := r.listPath(name)
		if err := r.mayRead(path, given != nil); err != nil {
			return nil, err
		}
		content, err := r.read(c.seen, path, policy.MaxListSize)
		if total += len(content); total > maxListsSize {
			return nil, fmt.Errorf("the lists are larger than %d MiB together", maxListsSize>>20)
		}
		c.text.lists[name] = content
		return content, err
	}
	if r.inline != nil {
		doc.KeyPrefix = r.source
		content, err := yaml.Marshal(r.inline)
		if err != nil {
			c.err = fmt.Errorf("write the policy as YAML: %w", err)
			return c
		}
		c.text.content = content
	} else {
		content, err := given, error(nil)
		if given == nil {
			content, err = r.read(c.seen, r.file, policy.MaxPolicySize)
		} else {
			c.seen[r.file] = markOf(content, nil)
		}
		if err != nil {
			c.err = err
			return c
		}
		doc.Name, doc.Content = r.file, content
		c.text.content = content
	}
	c.policy, c.warnings, c.err = policy.Load(doc)
	return c
}

// mayRead says why a policy that others send may not name a list file.
func (r *reader) mayRead(path string, byAPI bool) error {
	switch {
	case r.remote != nil && r.listsFolder == "":
		return errors.New("a policy that comes from a URL names no list files; the setting lists_dir is the folder below which it may")
	case r.remote != nil && !isBelow(path, r.listsFolder):
		return fmt.Errorf("the lists of a policy that comes from a URL are below %s (lists_dir)", r.listsFolder)
	case byAPI && !isBelow(path, r.listsFolder):
		return fmt.Errorf("the lists of a policy that comes by the API are below %s (lists_dir)", r.listsFolder)
	}
	return nil
}

// isBelow says whether a path is of something in a folder; links are not followed.
func isBelow(path, folder string) bool {
	rest, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rest) && rest != "."
}

// listPath is where a list file is: its name is relative to the folder of the
// policy file, of an inline policy to the working directory, of one from a URL to
// lists_dir.
func (r *reader) listPath(name string) string {
	if r.remote != nil && !filepath.IsAbs(name) {
		return filepath.Join(r.listsFolder, name)
	}
	if filepath.IsAbs(name) || r.file == "" {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(r.file), name)
}

// read reads a file and notes what it found in seen. A file that is named twice
// and changed in between cannot be told by its first hash, so it gets a mark
// that no later look can equal.
func (r *reader) read(seen fingerprint, path string, limit int64) ([]byte, error) {
	content, err := r.contentOf(path, limit)
	mark := markOf(content, err)
	if before, ok := seen[path]; ok && before != mark {
		mark = "changed while it was read"
	}
	seen[path] = mark
	if err != nil {
		return nil, explain(err)
	}
	return content, nil
}

func (r *reader) contentOf(path string, limit int64) ([]byte, error) {
	if r.remote != nil && path == r.file {
		return r.remote.read()
	}
	var content bytes.Buffer
	err := securefile.Copy(&content, path, r.access, limit)
	return content.Bytes(), err
}

// unchanged tells whether the files of seen are still as they were. It keeps
// nothing in memory.
func (r *reader) unchanged(seen fingerprint) bool {
	for path, mark := range seen {
		if r.remote != nil && path == r.file {
			if mark != markOf(r.remote.read()) {
				return false
			}
			continue
		}
		limit := int64(policy.MaxListSize)
		if path == r.file {
			limit = policy.MaxPolicySize
		}
		hash := sha256.New()
		err := securefile.Copy(hash, path, r.access, limit)
		if mark != markOfSum(hash.Sum(nil), err) {
			return false
		}
	}
	return true
}

func markOf(content []byte, err error) string {
	sum := sha256.Sum256(content)
	return markOfSum(sum[:], err)
}

func markOfSum(sum []byte, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return string(sum)
}

// explain adds the setting that lets a trial do without the checks.
func explain(err error) error {
	var insecure *securefile.InsecureError
	if errors.As(err, &insecure) {
		return fmt.Errorf("%w, or set allow_insecure_files: true for a trial", err)
	}
	return err
}
