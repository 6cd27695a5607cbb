package datapath

import (
	"fmt"

	"go.uber.org/zap"
)

// OwnSocket says that a socket is Weir's own, by its cookie (SO_COOKIE): connections
// that it opens from then on are so, for the safeguard `export`, whoever's context their
// packets leave in. What it returns forgets that: connections that are open stay.
func (d *Datapath) OwnSocket(cookie uint64) (forget func(), err error) {
	if err := d.objects.OwnSockets.Put(cookie, uint8(1)); err != nil {
		return nil, fmt.Errorf("tell the kernel which socket is Weir's own: %w", err)
	}
	return func() {
		// One that is left is nobody's: cookies are not given again.
		if err := ignoreAbsent(d.objects.OwnSockets.Delete(cookie)); err != nil {
			d.log.Debug("The kernel cannot be told that a socket of Weir's own is closed.", zap.Error(err))
		}
	}, nil
}
