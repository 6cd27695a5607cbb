package datapath

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The thread that reads packets which wait is named, so that it can be told from the
// others, and scheduled before them: what is exported, swept or collected as garbage on
// its processor is not to keep packets waiting.
const (
	heldThread = "weir-hold"
	heldNice   = -10
	heldSlice  = 100_000 // ns: who asks for little at a time comes soon (Linux 6.12)
)

// preferThread does that for the thread of the caller, and says what could not be done.
// Without CAP_SYS_NICE the short slice is all there is.
func preferThread() error {
	name := append([]byte(heldThread), 0)
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		return err
	}
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL {
		return err // somebody has chosen another
	}
	nice := a.Nice
	a.Nice, a.Runtime = min(nice, heldNice), heldSlice
	if unix.SchedSetAttr(0, a, 0) == nil {
		return nil
	}
	a.Nice = nice
	return unix.SchedSetAttr(0, a, 0)
}
