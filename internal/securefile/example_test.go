package securefile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/weirnet/weir/internal/securefile"
)

func ExampleCopy() {
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(name, []byte("mode: detect\n"), 0o600); err != nil {
		panic(err)
	}
	fmt.Println(securefile.Copy(os.Stdout, name, securefile.Private, 1<<20))

	if err := os.Chmod(name, 0o644); err != nil {
		panic(err)
	}
	var insecure *securefile.InsecureError
	err = securefile.Copy(io.Discard, name, securefile.Private, 1<<20)
	fmt.Println(errors.As(err, &insecure), insecure.Problem)
	// Output:
	// mode: detect
	// <nil>
	// true can be read or written by others than its owner (mode 0644)
}
