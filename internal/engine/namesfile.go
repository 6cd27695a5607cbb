package engine

import (
	"bytes"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/securefile"
)

// saveInterval is how old what is saved of the names may be after a crash.
const saveInterval = time.Minute

// namesFile keeps what DNS has answered over restarts: programs go on to use the
// addresses that they know.
type namesFile struct {
	path string // empty: nothing is kept
	log  *zap.Logger
	// learned is what the table had learned when it was saved last, at that time.
	learned uint64
	at      time.Time
}

// load reads what was saved. What is damaged, or others could have written, is not
// believed.
func (f *namesFile) load(t *names.Table, now time.Time) {
	if f.path == "" {
		return
	}
	f.at = now
	file, err := securefile.Open(f.path, securefile.Private)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = errors.Join(t.Load(file, now), file.Close())
	}
	if err != nil {
		f.log.Warn("The names that DNS had answered before the restart are not known any more. Rules about names do not match connections to them before they are asked for again.",
			zap.String("file", f.path), zap.Error(err))
	}
}

// content is what is to be saved; nil where nothing has been learned since.
func (f *namesFile) content(t *names.Table, now time.Time) []byte {
	c := t.Counters()
	learned := c.Learned + c.Refreshed
	if f.path == "" || learned == f.learned {
		return nil
	}
	f.learned, f.at = learned, now
	var b bytes.Buffer
	if err := t.Save(&b, now); err != nil {
		return nil // a buffer in memory takes all
	}
	return b.Bytes()
}

// due says whether it is time to save.
func (f *namesFile) due(now time.Time) bool { return now.Sub(f.at) >= saveInterval }

func (f *namesFile) write(content []byte) {
	if content == nil {
		return
	}
	err := securefile.Replace(f.path, func(file *os.File) error {
		_, err := file.Write(content)
		return err
	})
	if err != nil {
		f.log.Warn("The names that DNS has answered cannot be saved; after a restart they are not known.", zap.Error(err))
	}
}
