package dns_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirnet/weir/internal/inspect/dns"
)

func readLines[T any](t testing.TB, path string) (lines []T) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var line T
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		lines = append(lines, line)
	}
	return lines
}

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
	folder := corpus(t, "dns-malformed")
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
