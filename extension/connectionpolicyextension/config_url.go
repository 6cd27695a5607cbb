package connectionpolicyextension

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// minPoll keeps the server from being asked all the time.
const minPoll = time.Second

// validateURL checks where the policy is fetched from. What comes over http:// may be
// anybody's on the way, unless it is known beforehand.
func validateURL(c *URL) error {
	var errs []error
	wrong := func(format string, arguments ...any) { errs = append(errs, fmt.Errorf("url::"+format, arguments...)) }
	at, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http":
		wrong("endpoint is %q: accepted is a URL such as https://policies.example.com/weir.yaml", c.Endpoint)
	case at.User != nil:
		wrong("endpoint has a user or a password, which would stand in logs: use token_file")
	case at.Fragment != "":
		wrong("endpoint has a fragment (#%s), which no server gets", at.Fragment)
	case at.Scheme == "http" && c.Sha256 == "":
		errs = append(errs, errors.New("url::sha256 is missing: what comes over http:// may be changed on the way, so its hash has to be known; or use https://"))
	case at.Scheme == "http" && c.TokenFile != "":
		wrong("token_file would be sent in the clear: use https://")
	}
	if sum, err := hex.DecodeString(c.Sha256); err != nil || c.Sha256 != "" && len(sum) != 32 {
		wrong("sha256 is %q: accepted are 64 hexadecimal digits, as sha256sum prints them", c.Sha256)
	}
	if c.PollInterval < minPoll {
		wrong("poll_interval is %v: want at least %v", c.PollInterval, minPoll)
	}
	if c.Timeout <= 0 {
		wrong("timeout is %v: want more than 0", c.Timeout)
	}
	return errors.Join(errs...)
}
