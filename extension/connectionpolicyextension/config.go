package connectionpolicyextension

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.opentelemetry.io/collector/confmap"

	"github.com/weirnet/weir/internal/securefile"
)

// confirmSuffix makes the default confirm_file of a policy file.
const confirmSuffix = ".confirm"

var errNoPolicy = errors.New("none of file, url and policy is set: name a policy file, or a URL, or write the policy inline under policy")

// Unmarshal implements confmap.Unmarshaler. That a policy must be given is
// checked here: the generated Validate has to take the default, which has none.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return err
	}
	if !c.hasPolicy() {
		return errNoPolicy
	}
	return nil
}

func (c *Config) hasPolicy() bool { return c.File != "" || c.Policy != nil || c.URL.HasValue() }

// validateConfig is called by the generated Validate.
func validateConfig(c *Config) error {
	var errs []error
	if c.File != "" && c.Policy != nil || c.URL.HasValue() && (c.File != "" || c.Policy != nil) {
		errs = append(errs, errors.New("of file, policy and url more than one is set: give the policy once"))
	}
	if c.OneFile && c.File == "" {
		errs = append(errs, errors.New("one_file is set, but the policy is not in a file: it says what the keys of a file are"))
	}
	if c.URL.HasValue() {
		errs = append(errs, validateURL(c.URL.Get()))
		if c.ReloadInterval == 0 && c.URL.Get().Sha256 == "" {
			errs = append(errs, errors.New("reload_interval is 0, by which url::poll_interval would not count: set another, or url::sha256 for a policy that is not to change"))
		}
	}
	if c.ReloadInterval < 0 {
		errs = append(errs, fmt.Errorf("reload_interval is %v: it must not be negative; 0 means that changes are not looked for", c.ReloadInterval))
	}
	if c.ConfirmWithin < 0 {
		errs = append(errs, fmt.Errorf("confirm_within is %v: it must not be negative; 0 means that changes need no confirmation", c.ConfirmWithin))
	}
	if c.ConfirmWithin > 0 && c.ReloadInterval == 0 {
		errs = append(errs, errors.New("confirm_within is set but reload_interval is 0: without reloading there is no change to confirm"))
	}
	if c.ConfirmWithin > 0 && c.File == "" && c.hasPolicy() && c.ConfirmFile == "" {
		errs = append(errs, errors.New("confirm_within needs confirm_file here: a policy that is inline or from a URL has no file name to derive it from"))
	}
	if c.File != "" && c.ConfirmFile != "" && filepath.Clean(c.File) == filepath.Clean(c.ConfirmFile) {
		errs = append(errs, errors.New("confirm_file is the policy file: writing the policy would confirm it"))
	}
	if c.Audit.HasValue() {
		errs = append(errs, validateAudit(c.Audit.Get()))
	}
	return errors.Join(errs...)
}

// confirmFile is the file that is touched to confirm a change; empty where an
// inline policy is configured without one.
func (c *Config) confirmFile() string {
	if c.ConfirmFile == "" && c.File != "" {
		return c.File + confirmSuffix
	}
	return c.ConfirmFile
}

// access is how a file is opened that asks for wanted.
func (c *Config) access(wanted securefile.Access) securefile.Access {
	if c.AllowInsecureFiles {
		return securefile.Unchecked
	}
	return wanted
}
