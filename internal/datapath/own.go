package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"
)

// OwnSocket says that a socket is Weir's own, by its cookie (SO_COOKIE): connections
// that it opens from then on are so, for the safeguard `export`, whoever's context their
// packets leave in. What it returns forgets that: connections that are open stay.
func (d *Datapath) OwnSocket(cookie uint64) (forget func(), err error) {
	if err := putOwnSocket(d.objects.OwnSockets, cookie); err != nil {
		return nil, err
	}
	return func() {
		// One that is left is nobody's: cookies are not given again.
		if err := ignoreAbsent(d.objects.OwnSockets.Delete(cookie)); err != nil {
			d.log.Debug("The kernel cannot be told that a socket of Weir's own is closed.", zap.Error(err))
		}
	}, nil
}

// PinnedOwnSocket says the same to the programs that are pinned for this network
// namespace, whoever left them there: at a start they enforce the policy of the process
// before, and do not know this one yet. Where none are pinned there is nobody to be told.
func PinnedOwnSocket(cookie uint64) (forget func(), err error) {
	p, err := openPins()
	if err != nil {
		return nil, err
	}
	known, err := ebpf.LoadPinnedMap(p.mapPath("own_sockets"), nil)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return func() {}, nil
	case err != nil:
		return nil, fmt.Errorf("open the kernel's list of Weir's own sockets: %w", err)
	}
	if err := putOwnSocket(known, cookie); err != nil {
		known.Close()
		return nil, err
	}
	return func() {
		_ = known.Delete(cookie) // as above; the map may be out of use by now
		known.Close()
	}, nil
}

func putOwnSocket(known *ebpf.Map, cookie uint64) error {
	if err := known.Put(cookie, uint8(1)); err != nil {
		return fmt.Errorf("tell the kernel which socket is Weir's own: %w", err)
	}
	return nil
}
