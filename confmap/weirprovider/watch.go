package weirprovider

import (
	"context"
	"crypto/sha256"
	"time"

	"go.uber.org/zap"
)

// interval is how often the file is looked at.
const interval = 2 * time.Second

// watcher finds out when what the file comes to has changed, and says so once: the
// file is then read again, by another Retrieve.
type watcher struct {
	log      *zap.Logger
	source   source
	config   map[string]any // as it was given out
	seen     [32]byte       // hash of content that needs no more looking at
	interval time.Duration
	changed  func()

	// pending was seen once: it may be half of what is being written.
	pending [32]byte
	// unread is the last problem that was told.
	unread string
}

func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if w.look() {
			if ctx.Err() == nil { // it may have ended meanwhile
				w.changed()
			}
			return
		}
	}
}

// look says whether the configuration has become another one. What cannot be read
// changes nothing: the Collector would end over it.
func (w *watcher) look() bool {
	content, err := w.source.read()
	if err != nil {
		w.tell("The configuration cannot be read, and stays as it is.", err)
		return false
	}
	hash := sha256.Sum256(content)
	if hash == w.seen {
		w.pending, w.unread = [32]byte{}, ""
		return false
	}
	if hash != w.pending {
		w.pending = hash
		return false
	}
	config, err := w.source.configuration(content)
	if err != nil {
		w.tell("The changed configuration is refused, and stays as it was.", err)
		return false
	}
	w.seen, w.pending, w.unread = hash, [32]byte{}, ""
	return !equal(config, w.config)
}

// tell logs a problem once.
func (w *watcher) tell(what string, err error) {
	if w.unread == err.Error() {
		return
	}
	w.unread = err.Error()
	w.log.Error(what, zap.String("file", w.source.path), zap.Error(err))
}
