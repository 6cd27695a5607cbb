package policy

import (
	"fmt"
	"strings"
)

// mostTold is how many values of one change are told; the rest are counted.
const mostTold = 8

// Lines are the difference as text, a line each; lines that begin with spaces
// belong to the one before.
func (d *Changes) Lines() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, oneLine(fmt.Sprintf(format, args...))) }
	for _, s := range d.Settings {
		add("%s", s.text("not set"))
	}
	for _, g := range d.Groups {
		add("%s", g.text())
	}
	for _, r := range d.Rules {
		add("%s", r.text())
		if r.Change == "changed" {
			for _, f := range r.Fields {
				none := "none"
				if f.Key == "direction" || strings.HasPrefix(f.Key, "layer") {
					none = anyText
				}
				add("    %s", f.text(none))
			}
		}
	}
	return lines
}

// Line is the difference on one line of at most so many bytes, for logs. What does
// not fit is counted.
func (d *Changes) Line(most int) string {
	var items []string
	for _, l := range d.Lines() {
		text, belongs := strings.CutPrefix(l, "    ")
		switch last := len(items) - 1; {
		case !belongs:
			items = append(items, l)
		case strings.HasSuffix(items[last], ":"):
			items[last] += " " + text
		default:
			items[last] += ", " + text
		}
	}
	length := 0
	for i, item := range items {
		if length += len("; ") + len(item); i > 0 && length > most {
			return fmt.Sprintf("%s; and %d more", strings.Join(items[:i], "; "), len(items)-i)
		}
	}
	return strings.Join(items, "; ")
}

// text is one change; none says what it means that the key is not there.
func (f *FieldChange) text(none string) string {
	switch {
	case len(f.Old) == 0:
		return f.Key + ": " + none + " → " + told(f.New)
	case len(f.New) == 0:
		return f.Key + ": " + told(f.Old) + " → " + none
	case len(f.Old) == 1 && len(f.New) == 1:
		return f.Key + ": " + told(f.Old) + " → " + told(f.New)
	}
	return f.Key + ": " + plusMinus(onlyIn(f.New, f.Old), onlyIn(f.Old, f.New))
}

func plusMinus(added, removed []string) string {
	var parts []string
	if len(added) > 0 {
		parts = append(parts, "+ "+told(added))
	}
	if len(removed) > 0 {
		parts = append(parts, "- "+told(removed))
	}
	return strings.Join(parts, "  ")
}

func told(values []string) string {
	short := make([]string, 0, mostTold+1)
	for i, v := range values {
		if i == mostTold && len(values) > mostTold+1 {
			short = append(short, fmt.Sprintf("… and %d more", len(values)-mostTold))
			break
		}
		if s := shorten(v); s != v {
			v = s + "…"
		}
		short = append(short, v)
	}
	return strings.Join(short, ", ")
}

func (g *GroupChange) text() string {
	switch g.Change {
	case "added":
		return fmt.Sprintf("+ group %s: %s", g.Name, counted(g.NewCount, "entry", "entries"))
	case "removed":
		return fmt.Sprintf("- group %s: %s", g.Name, counted(g.OldCount, "entry", "entries"))
	}
	return fmt.Sprintf("~ group %s: %d → %s: %s", g.Name, g.OldCount, counted(g.NewCount, "entry", "entries"), plusMinus(g.Added, g.Removed))
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (r *RuleChange) text() string {
	switch r.Change {
	case "added":
		return fmt.Sprintf("+ rule %d %s: %s", r.NewPlace, r.Name, r.summary(true))
	case "removed":
		return fmt.Sprintf("- rule %d %s: %s", r.OldPlace, r.Name, r.summary(false))
	case "renamed":
		return fmt.Sprintf("~ rule %d %s: was named %s", r.NewPlace, r.Name, r.Was)
	case "moved":
		return fmt.Sprintf("~ rule %d %s: moved, was %d", r.NewPlace, r.Name, r.OldPlace)
	}
	if r.Moved {
		return fmt.Sprintf("~ rule %d %s, was %d:", r.NewPlace, r.Name, r.OldPlace)
	}
	return fmt.Sprintf("~ rule %d %s:", r.NewPlace, r.Name)
}

// summary is all that a rule says, its action first.
func (r *RuleChange) summary(added bool) string {
	action, rest := "", make([]string, 0, len(r.Fields))
	for _, f := range r.Fields {
		values := f.Old
		if added {
			values = f.New
		}
		switch f.Key {
		case "action":
			action = told(values)
		case "description":
		default:
			rest = append(rest, f.Key+" "+told(values))
		}
	}
	if len(rest) == 0 {
		return action + " everything"
	}
	return action + " " + strings.Join(rest, "; ")
}
