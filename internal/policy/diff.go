package policy

import "slices"

// Changes are what changed from one policy to another, for people and, as JSON,
// for programs. Comments, order within lists and short forms make none.
type Changes struct {
	Settings []FieldChange `json:"settings,omitempty"`
	Groups   []GroupChange `json:"groups,omitempty"`
	Rules    []RuleChange  `json:"rules,omitempty"`
}

// Empty says whether both policies say the same.
func (d *Changes) Empty() bool {
	return len(d.Settings) == 0 && len(d.Groups) == 0 && len(d.Rules) == 0
}

// FieldChange is a setting or a criterion that changed.
type FieldChange struct {
	Key string `json:"key"`
	// Old and New are the values; empty where the key was not there, which means the
	// default, or any.
	Old []string `json:"old,omitempty"`
	New []string `json:"new,omitempty"`
}

// GroupChange is a group that came, went, or has other entries.
type GroupChange struct {
	// Name is addresses.NAME or domains.NAME.
	Name   string `json:"name"`
	Change string `json:"change"` // added, removed, changed
	// OldCount and NewCount are the numbers of entries; Added and Removed are
	// entries that are in one only.
	OldCount int      `json:"old_count"`
	NewCount int      `json:"new_count"`
	Added    []string `json:"added,omitempty"`
	Removed  []string `json:"removed,omitempty"`
}

// RuleChange is a rule that came, went, or is another or elsewhere.
type RuleChange struct {
	Name   string `json:"name"`
	Change string `json:"change"` // added, removed, renamed, changed, moved
	// Was is the name before, of a rule that was renamed.
	Was string `json:"was,omitempty"`
	// OldPlace and NewPlace count from 1; 0 where it is not.
	OldPlace int `json:"old_place,omitempty"`
	NewPlace int `json:"new_place,omitempty"`
	// Moved: it stands elsewhere among the rules that both have.
	Moved bool `json:"moved,omitempty"`
	// Fields are what changed; of a rule that was added or removed, all it has.
	Fields []FieldChange `json:"fields,omitempty"`
}

// Diff compares two policies. Both are loaded, and the error is that of Load.
func Diff(before, after Document) (*Changes, error) {
	a, err := outlineOf(before)
	if err != nil {
		return nil, err
	}
	b, err := outlineOf(after)
	if err != nil {
		return nil, err
	}
	return &Changes{
		Settings: fieldChanges(a.settings, b.settings),
		Groups:   groupChanges(a.groups, b.groups),
		Rules:    ruleChanges(a.rules, b.rules),
	}, nil
}

// fieldChanges compares fields by key; both are sorted by it.
func fieldChanges(before, after []field) []FieldChange {
	var changes []FieldChange
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].key < after[0].key:
			changes = append(changes, FieldChange{Key: before[0].key, Old: before[0].values})
			before = before[1:]
		case len(before) == 0 || after[0].key < before[0].key:
			changes = append(changes, FieldChange{Key: after[0].key, New: after[0].values})
			after = after[1:]
		default:
			if !slices.Equal(before[0].values, after[0].values) {
				changes = append(changes, FieldChange{Key: after[0].key, Old: before[0].values, New: after[0].values})
			}
			before, after = before[1:], after[1:]
		}
	}
	return changes
}

func groupChanges(before, after []field) []GroupChange {
	var changes []GroupChange
	for _, f := range fieldChanges(before, after) {
		g := GroupChange{Name: f.Key, Change: "changed", OldCount: len(f.Old), NewCount: len(f.New)}
		g.Removed, g.Added = onlyIn(f.Old, f.New), onlyIn(f.New, f.Old)
		switch {
		case !hasKey(before, f.Key):
			g.Change = "added"
		case !hasKey(after, f.Key):
			g.Change = "removed"
		}
		changes = append(changes, g)
	}
	return changes
}

func hasKey(fields []field, key string) bool {
	return slices.ContainsFunc(fields, func(f field) bool { return f.key == key })
}

// onlyIn are the texts of a sorted list that another has not.
func onlyIn(list, other []string) []string {
	var only []string
	for _, s := range list {
		if _, found := slices.BinarySearch(other, s); !found {
			only = append(only, s)
		}
	}
	return only
}
