package datapath

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
)

func TestPreferThread(t *testing.T) {
	nstest.Need(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		if err := preferThread(); err != nil {
			t.Error(err)
		}
		if name, err := os.ReadFile("/proc/thread-self/comm"); err != nil || strings.TrimSpace(string(name)) != heldThread {
			t.Errorf("it is called %q (%v)", name, err)
		}
		if a, err := unix.SchedGetAttr(0, 0); err != nil || a.Nice > heldNice {
			t.Errorf("%+v, %v", a, err)
		}
	}()
	<-done
	if a, err := unix.SchedGetAttr(0, 0); err != nil || a.Nice == heldNice {
		t.Errorf("another thread has %+v, %v", a, err)
	}
}
