package connectionpolicyextension

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// minAuditSize keeps the file from being set aside all the time.
const minAuditSize = 64 << 10

// validateAudit checks the settings of the audit log.
func validateAudit(a *Audit) error {
	var errs []error
	wrong := func(format string, arguments ...any) { errs = append(errs, fmt.Errorf("audit::"+format, arguments...)) }
	if !filepath.IsAbs(a.Path) || strings.HasSuffix(a.Path, "/") {
		wrong("path is %q: accepted is the absolute path of a file", a.Path)
	}
	switch size, err := parseSize(a.MaxSize); {
	case err != nil:
		wrong("max_size: %w", err)
	case size < minAuditSize:
		wrong("max_size is %s: want at least 64KiB", a.MaxSize)
	}
	if a.RotateInterval < 0 {
		wrong("rotate_interval is %v: it must not be negative; 0 means that the file may become as old as it likes", a.RotateInterval)
	}
	if a.MaxAge < 0 {
		wrong("max_age is %v: it must not be negative; 0 means that no file is too old", a.MaxAge)
	}
	if a.MaxBackups < 0 {
		wrong("max_backups is %d: it must not be negative; 0 means that all files are kept", a.MaxBackups)
	}
	if a.LinesPerSecond < 1 {
		wrong("lines_per_second is %d: want at least 1", a.LinesPerSecond)
	}
	return errors.Join(errs...)
}

// parseSize reads a number of bytes.
func parseSize(text string) (int64, error) {
	digits, factor := text, int64(1)
	for suffix, f := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if d, found := strings.CutSuffix(text, suffix); found {
			digits, factor = strings.TrimSpace(d), f
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is not a size: accepted is a number of bytes, or one with KiB, MiB or GiB, such as 50MiB", text)
	}
	return n * factor, nil
}
