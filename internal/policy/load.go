package policy

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits of what is read.
const (
	// MaxPolicySize is the size in bytes up to which a policy is read: a hundred
	// thousand rules of ten lines take a third of it.
	MaxPolicySize = 64 << 20
	// maxLibrarySize is the same for YAML that only yaml.v3 can read, which takes
	// fifty times its size in memory.
	maxLibrarySize = 16 << 20
	// MaxListSize is the same for a list file of a group.
	MaxListSize = 64 << 20
	// maxAliased is how many nodes are read by way of aliases: a few nested
	// aliases can stand for billions of nodes.
	maxAliased = 1_000_000
	// maxPrefixes is how many prefixes all addresses of a policy may come to, those
	// of groups again in each list that joins them with others. A range of 40
	// characters can come to 250.
	maxPrefixes = 4_000_000
	// maxInstructions is the size of all RE2 expressions together, as compiled.
	// Repetitions make a few characters large.
	maxInstructions = 1_000_000
)

// Document is a policy to be read.
type Document struct {
	// Name is what messages call it, usually the name of its file.
	Name string
	// Content is YAML or JSON.
	Content []byte
	// Root is read instead of Content when it is set: an inline policy.
	Root *yaml.Node
	// KeyPrefix stands before the keys in messages about an inline policy.
	KeyPrefix string
	// Service: the file is one for the scheme weir:, and may have the keys that
	// LoadService reads.
	Service bool
	// Open reads the list file of a group, by its path as the policy has it. Nil
	// means that list files are refused.
	Open func(name string) ([]byte, error)
	// Now is compared with the expiry of rules, for warnings; zero is time.Now.
	Now time.Time
}

// Load reads a policy and checks it. The error is of type Errors and holds all
// problems; a policy with problems is not returned.
func Load(doc Document) (*Policy, []Warning, error) {
	if doc.Now.IsZero() {
		doc.Now = time.Now()
	}
	d := &decoder{doc: doc}
	d.tree = &tree{root: doc.Root}
	if doc.Root == nil {
		d.tree = d.parse(doc.Content)
	}
	var p *Policy
	if d.tree != nil && len(d.errs) == 0 {
		p = d.policy(d.tree.root)
	}
	if d.more > 0 {
		d.errs = append(d.errs, &Error{File: doc.Name, Found: fmt.Sprintf("%d more problems are not shown", d.more)})
	}
	if len(d.errs) > 0 {
		return nil, d.warnings, d.errs
	}
	d.warn(p)
	return p, d.warnings, nil
}

// decoder is the reading of one policy.
type decoder struct {
	doc      Document
	errs     Errors
	more     int
	warnings []Warning
	// aliased counts the nodes read by way of aliases.
	aliased int
	// prefixes and instructions count toward their bounds.
	prefixes, instructions int
	// tree is the text.
	tree *tree
	// cursors and fields hold one cursor for each value that is being read.
	cursors slab[cursor]
	fields  slab[*cursor]
	// lists are the prefix lists of the policy.
	lists prefixLists
	// scratch are the lists that are being read: what they include and exclude.
	scratch [2]listParts
	// addressGroups and nameGroups are the groups by name; nil for a group that
	// had problems, so that its uses do not add to them.
	addressGroups map[string]*addressGroup
	nameGroups    map[string]*nameGroup
	// keys tell the criteria of the rules apart, to find those that repeat.
	keys []criteriaKey
	key  keyMaker
}

// problem notes an error, up to the number that is told.
func (d *decoder) problem(e *Error) {
	if e.File == "" {
		e.File = d.doc.Name
	}
	if len(d.errs) == maxErrors {
		d.more++
		return
	}
	d.errs = append(d.errs, e)
}

func (d *decoder) warnf(line int, rule, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{File: d.doc.Name, Line: line, Rule: rule, Text: fmt.Sprintf(format, args...)})
}
