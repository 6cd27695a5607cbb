package securefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirnet/weir/internal/securefile"
)

func TestReplace(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(folder, "file")
	write := func(text string) func(*os.File) error {
		return func(f *os.File) error {
			_, err := f.WriteString(text)
			return err
		}
	}
	expect := func(want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	if err := securefile.Replace(path, write("one")); err != nil {
		t.Fatal(err)
	}
	expect("one")
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if info, err = os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// What cannot be written whole changes nothing.
	refused := errors.New("no more")
	if err := securefile.Replace(path, func(f *os.File) error { return errors.Join(write("tw")(f), refused) }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	expect("one")
	// A link in its place is replaced, not followed; so is what a process that died
	// left.
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(elsewhere, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := securefile.Replace(path, write("two")); err != nil {
		t.Fatal(err)
	}
	expect("two")
	if _, err := os.Stat(elsewhere); !os.IsNotExist(err) {
		t.Errorf("it wrote through a link: %v", err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var insecure *securefile.InsecureError
	if err := securefile.Replace(path, write("three")); !errors.As(err, &insecure) {
		t.Errorf("in a folder of everybody's: %v", err)
	}
	expect("two")
}
