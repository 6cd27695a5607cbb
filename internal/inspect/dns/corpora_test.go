package dns_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/inspect/dns"
)

// score counts fields by how they compare.
type score struct{ equal, total int }

type scores map[string]*score

func (s scores) add(field string, equal bool) {
	if s[field] == nil {
		s[field] = &score{}
	}
	s[field].total++
	if equal {
		s[field].equal++
	}
}

// check says how much is equal, and fails below 99 %.
func (s scores) check(t *testing.T) {
	for field, c := range s {
		t.Logf("%-12s %4d of %4d equal (%.1f %%)", field, c.equal, c.total, 100*float64(c.equal)/float64(c.total))
		if c.equal*100 < c.total*99 {
			t.Errorf("%s: less than 99 %%", field)
		}
	}
}

func TestMalformedCorpus(t *testing.T) {
	folder := corpora.Path(t, "dns-malformed")
	problems := map[string]int{}
	for _, name := range []string{"cares-fuzzinput", "cares-fuzznames"} {
		entries, err := os.ReadDir(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(folder, name, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			var m dns.Message
			m.Parse(data, len(data), dns.DNS)
			checkMessage(t, data, &m)
			checkOracle(t, data, &m)
			problems[m.Problem.String()]++
		}
	}
	t.Log(problems)
}
