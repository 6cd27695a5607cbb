package policy

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// plainReader reads the YAML that policies are written in: block and flow
// collections, and scalars on one line. It makes the nodes that yaml.v3 makes of
// the same text, and gives up at whatever else it meets, wrong or only rare: then
// yaml.v3 reads the whole text, and says what is wrong with it.
//
// It is here because yaml.v3 takes 20 µs and 5 KB for a rule: seconds and 600 MB
// for a hundred thousand of them, which are read anew whenever a line changes.
// TestPlainReader and FuzzPlainReader compare the two.
type plainReader struct {
	nodes
	text string
	// pos is the offset of the next byte, bol that of its line's first byte; line
	// counts from 1.
	pos, bol, line int
	// column is that of the next token after a node was read in block context: how
	// many bytes it is away from bol; -1 at the end.
	column int
	depth  int
	// ascii: bytes are characters.
	ascii bool
	// counted is where the column was asked for last, and how many characters of
	// the line are before it.
	counted struct{ pos, characters int }
	// gaveUp: the text is not for this reader.
	gaveUp bool

	// rules and rulesAt are the list of rules and where it begins.
	rules     *yaml.Node
	rulesAt   plainPlace
	ruleCount int
	// checking: the rules are only looked at.
	checking bool
}

// plainPlace is a place in the text, within a collection that is indented so far.
type plainPlace struct{ pos, bol, line, indent int }

// maxPlainDepth bounds the recursion; no policy comes near.
const maxPlainDepth = 64

// readPlain reads a text that was checked to be UTF-8. It is nil if the reader
// gave up; then the line tells where.
func readPlain(text string) (*tree, int) {
	r := &plainReader{text: text, line: 1}
	strange := 0
	if r.ascii, strange = plainCharacters(text); strange >= 0 {
		return nil, 1 + strings.Count(text[:strange], "\n")
	}
	if !r.start() {
		return nil, r.line
	}
	root := r.block(-1)
	if root == nil || r.gaveUp || r.column >= 0 || root.Kind != yaml.MappingNode {
		return nil, r.line
	}
	t := &tree{root: root, rules: r.rules, count: r.ruleCount}
	t.items = func(yield func(*yaml.Node) bool) {
		r.pos, r.bol, r.line, r.gaveUp = r.rulesAt.pos, r.rulesAt.bol, r.rulesAt.line, false
		r.rulesList(yield)
	}
	return t, 0
}

// plainCharacters finds the first character that yaml.v3 may not take as such, or
// is -1. Tabs and carriage returns are for yaml.v3 to judge.
func plainCharacters(text string) (ascii bool, strange int) {
	ascii = true
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b >= ' ' && b < 0x7f || b == '\n' {
			continue
		}
		if b < utf8.RuneSelf {
			return false, i
		}
		ascii = false
		c, size := utf8.DecodeRuneInString(text[i:])
		// Below U+00A0 are controls; the next two are line breaks to YAML 1.1.
		if c < 0xa0 || c == '\u2028' || c == '\u2029' || c == '\ufeff' || c == '\ufffe' || c == '\uffff' {
			return false, i
		}
		i += size - 1
	}
	return ascii, -1
}

// start goes to the first token, past "---".
func (r *plainReader) start() bool {
	r.gaveUp = isDocumentMark(r.text)
	r.next()
	if r.gaveUp && strings.HasPrefix(r.text[r.pos:], "---\n") {
		r.gaveUp = false
		r.pos += 3
		r.next()
	}
	return !r.gaveUp && r.column >= 0
}

// next goes to the next token in block context, past blanks and comments, and
// sets column.
func (r *plainReader) next() {
	r.space()
	r.column = r.pos - r.bol
	if r.pos == len(r.text) {
		r.column = -1
	}
}

// space skips blanks, line ends and comments.
func (r *plainReader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ':
			r.pos++
		case '\n':
			r.pos++
			r.bol = r.pos
			r.line++
			// The marks of documents count even within flow collections.
			if isDocumentMark(r.text[r.pos:]) {
				r.gaveUp = true
			}
		case '#':
			// Only after a blank does it begin a comment for certain.
			if r.pos > r.bol && r.text[r.pos-1] != ' ' {
				return
			}
			end := strings.IndexByte(r.text[r.pos:], '\n')
			if end < 0 {
				end = len(r.text) - r.pos
			}
			r.pos += end
		default:
			return
		}
	}
}

func isDocumentMark(line string) bool {
	return len(line) >= 3 && (line[0] == '-' || line[0] == '.') && (line[:3] == "---" || line[:3] == "...")
}

// blanks skips blanks on the line.
func (r *plainReader) blanks() {
	for r.pos < len(r.text) && r.text[r.pos] == ' ' {
		r.pos++
	}
}

// peek is the next byte; a line end at the end of the text.
func (r *plainReader) peek() byte { return r.at(r.pos) }

func (r *plainReader) at(pos int) byte {
	if pos < len(r.text) {
		return r.text[pos]
	}
	return '\n'
}

// columnOf is the column of an offset in the line.
func (r *plainReader) columnOf(pos int) int {
	if r.ascii {
		return pos - r.bol + 1
	}
	// Counted on from the last place: a line can be a whole policy.
	if r.counted.pos < r.bol || pos < r.counted.pos {
		r.counted.pos, r.counted.characters = r.bol, 0
	}
	r.counted.characters += utf8.RuneCountInString(r.text[r.counted.pos:pos])
	r.counted.pos = pos
	return r.counted.characters + 1
}

// addAt makes a node that begins at pos, in the line.
func (r *plainReader) addAt(pos int, kind yaml.Kind, tag, value string) *yaml.Node {
	if r.count >= maxNodes {
		r.gaveUp = true
	}
	column := 0
	if !r.discard {
		column = r.columnOf(pos)
	}
	return r.add(kind, tag, value, r.line, column)
}

func (r *plainReader) giveUp() *yaml.Node {
	r.gaveUp = true
	return nil
}
