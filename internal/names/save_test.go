package names_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/names"
)

func filled(t testing.TB) (*names.Table, []byte) {
	t.Helper()
	table := newTable(names.Limits{})
	learn(table, "short.example", "192.0.2.1", 60, start)
	learn(table, "long.example", "192.0.2.1", 7200, start)
	k := key(`odd\.\255.example`, 28)
	table.Learn(&k, &k, parse(`odd\.\255.example AAAA 2001:db8::1 4294967295`), start)
	var saved bytes.Buffer
	if err := table.Save(&saved, start); err != nil {
		t.Fatal(err)
	}
	return table, saved.Bytes()
}

func TestSave(t *testing.T) {
	table, saved := filled(t)
	for _, c := range []struct {
		name string
		at   time.Duration
		want string
	}{
		{"at once", 0, contents(table)},
		{"later", time.Hour, "192.0.2.1 long.example\n2001:db8::1 odd\\.\\255.example"},
		{"much later", 3 * time.Hour, "2001:db8::1 odd\\.\\255.example"},
		{"for ever", 200 * 365 * 24 * time.Hour, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			again := newTable(names.Limits{})
			if err := again.Load(bytes.NewReader(saved), start.Add(c.at)); err != nil {
				t.Fatal(err)
			}
			if got := contents(again); got != c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
			if again.Generation() != uint64(countNames(again)) {
				t.Error("what was loaded is no change")
			}
		})
	}
	t.Run("the clock was wrong", func(t *testing.T) {
		again := newTable(names.Limits{})
		before := start.Add(-50 * 365 * 24 * time.Hour)
		if err := again.Load(bytes.NewReader(saved), before); err != nil {
			t.Fatal(err)
		}
		if again.Expire(before.Add(names.MaxLife)); again.Len() != 0 {
			t.Errorf("%s lives too long", contents(again))
		}
	})
	t.Run("order of use", func(t *testing.T) {
		again := newTable(names.Limits{Addresses: 1})
		if err := again.Load(bytes.NewReader(saved), start); err != nil {
			t.Fatal(err)
		}
		if got := contents(again); !strings.HasPrefix(got, "2001:db8::1 ") {
			t.Errorf("what was used last is %q", got)
		}
	})
	t.Run("added to what is known", func(t *testing.T) {
		again := newTable(names.Limits{})
		learn(again, "long.example", "192.0.2.1", 60, start)
		if err := again.Load(bytes.NewReader(saved), start); err != nil {
			t.Fatal(err)
		}
		if got := again.Lookup(netip.MustParseAddr("192.0.2.1"), start.Add(time.Hour)); len(got) != 1 || countNames(again) != 2 {
			t.Errorf("after an hour %q", got)
		}
	})
	t.Run("empty", func(t *testing.T) {
		var b bytes.Buffer
		if err := names.NewTable(names.Limits{}).Save(&b, start); err != nil {
			t.Fatal(err)
		}
		if err := newTable(names.Limits{}).Load(&b, start); err != nil {
			t.Error(err)
		}
	})
}

// sealed gives what is not damaged its checksum.
func sealed(body string) []byte {
	sum := sha256.Sum256([]byte(body))
	return append([]byte(body), sum[:]...)
}

func TestLoadRefuses(t *testing.T) {
	_, saved := filled(t)
	head := "weir names 1\n"
	one := head + "\x00\x00\x00\x01\x04\xc0\x00\x02\x01\x00\x01" + strings.Repeat("\x00", 15) + "\x09"
	cases := map[string][]byte{
		"is empty":               {},
		"of another version":     append([]byte("weir names 2\n"), saved[len(head):]...),
		"ends after":             []byte(head),
		"more than the":          sealed(head + "\x00\x00\x00\x00x"),
		"not an address":         sealed(head + "\x00\x00\x00\x01\x05xxxxxxxxxxxxxxx"),
		"in the form of IPv6":    sealed(head + "\x00\x00\x00\x01\x10" + strings.Repeat("\x00", 10) + "\xff\xff\x01\x02\x03\x04\x00\x00"),
		"not a name":             sealed(one + "\x00\x05abcd"),
		"that was learned":       sealed(one + "\x00\x04aB.c"),
		"at byte 24":             sealed(one + "\x00\x01 "),
		"more than 1048980 byte": make([]byte, 2<<20),
	}
	delete(cases, "is empty")
	for want, data := range cases {
		table := newTable(names.Limits{Bytes: 101})
		if err := table.Load(bytes.NewReader(data), start); err == nil || !strings.Contains(err.Error(), want) || table.Generation() != 0 {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for i := range saved {
		damaged := bytes.Clone(saved)
		damaged[i] ^= 0x20
		for _, data := range [][]byte{damaged, saved[:i]} {
			table := newTable(names.Limits{})
			if err := table.Load(bytes.NewReader(data), start); err == nil || table.Generation() != 0 {
				t.Fatalf("damaged at byte %d: %v", i, err)
			}
		}
	}
}

// full is a disk without room.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("no room")
	}
	return len(b), nil
}

func TestSaveFails(t *testing.T) {
	table, saved := filled(t)
	for room := range saved {
		if err := table.Save(&full{room}, start); err == nil || !strings.Contains(fmt.Sprint(err), "no room") {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
	}
}

// FuzzLoad: what is loaded is what would be saved, or refused.
func FuzzLoad(f *testing.F) {
	_, saved := filled(f)
	f.Add(saved[:len(saved)-32])
	f.Add([]byte("weir names 1\n\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		table := newTable(names.Limits{Addresses: 10, Names: 5, Bytes: 5000})
		if err := table.Load(bytes.NewReader(sealed(string(body))), start); err != nil {
			if table.Generation() != 0 {
				t.Fatal("half of it is loaded")
			}
			return
		}
		if table.Len() > 10 {
			t.Fatalf("%d addresses", table.Len())
		}
		var again bytes.Buffer
		if err := table.Save(&again, start); err != nil {
			t.Fatal(err)
		}
		other := newTable(names.Limits{Addresses: 10, Names: 5, Bytes: 5000})
		if err := other.Load(&again, start); err != nil || contents(other) != contents(table) {
			t.Fatalf("%v\n%s\n%s", err, contents(table), contents(other))
		}
	})
}
