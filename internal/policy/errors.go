package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is one problem of a policy.
type Error struct {
	// File is the policy, or the list file the problem is in.
	File string
	// Line and Column count from 1; 0 where the place has none, as in inline
	// policies.
	Line, Column int
	// Key is the path of the key, such as rules[3].layer3.source[0].
	Key string
	// Found is what is there and wrong, Accepted what would be right.
	Found, Accepted string
	// Hint says what to write instead; may be empty.
	Hint string
}

// Error is the problem on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	for _, part := range []string{e.Key, e.Found} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	if e.Accepted != "" {
		b.WriteString("; accepted: " + e.Accepted)
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return oneLine(b.String())
}

// oneLine keeps line ends and terminal escapes of a policy out of messages.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// maxErrors is how many problems are told; the rest are counted.
const maxErrors = 20

// Errors are all problems of a policy; the last one counts those that are not
// told.
type Errors []*Error

// Error has a line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each problem.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// Warning is something that is accepted but hardly meant.
type Warning struct {
	File string
	// Line is 0 where the place has none.
	Line int
	// Rule is empty for what concerns no rule.
	Rule string
	Text string
}

// String is the warning on one line.
func (w Warning) String() string {
	var b strings.Builder
	b.WriteString(w.File)
	if w.Line > 0 {
		fmt.Fprintf(&b, ":%d", w.Line)
	}
	if w.Rule != "" {
		b.WriteString(": rule " + w.Rule)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(w.Text)
	return oneLine(b.String())
}

// quote shows text from a policy in a message: on one line and cut to a length
// that can be read.
func quote(s string) string {
	if short := shorten(s); short != s {
		return fmt.Sprintf("%q...", short)
	}
	return fmt.Sprintf("%q", s)
}

// shorten cuts text to a length that can be read, between characters.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
