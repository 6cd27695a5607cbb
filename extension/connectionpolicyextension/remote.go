package connectionpolicyextension

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/securefile"
)

// Bounds of what a server may send besides the policy.
const (
	maxHeaders   = 64 << 10
	maxRedirects = 5
	maxTokenSize = 16 << 10
	maxCASize    = 4 << 20
)

// outcome is what came of asking for the policy.
type outcome string

const (
	changed       outcome = "changed"
	unchanged     outcome = "unchanged"
	failedToFetch outcome = "failed"
)

// remote is a policy at a URL. What was fetched last stays, whatever becomes of the
// server: to those that read it, it is a file whose content changes now and then.
type remote struct {
	cfg    *URL
	access securefile.Access // of the token; what others may write is never taken
	client *http.Client
	own    ownSockets

	mu      sync.Mutex
	content []byte
	etag    string
	err     error // why there is no content yet
}

func newRemote(cfg *URL, access securefile.Access) (*remote, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what is bounded is what is sent
	transport.DisableKeepAlives = true
	transport.MaxResponseHeaderBytes = maxHeaders
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CaFile != "" {
		trusted := securefile.Trusted
		if access == securefile.Unchecked {
			trusted = access
		}
		var pem bytes.Buffer
		if err := securefile.Copy(&pem, cfg.CaFile, trusted, maxCASize); err != nil {
			return nil, fmt.Errorf("read url::ca_file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem.Bytes()) {
			return nil, fmt.Errorf("url::ca_file: there is no certificate in %s; accepted are those in PEM", cfg.CaFile)
		}
	}
	r := &remote{cfg: cfg, access: access, err: errors.New("it was not fetched yet")}
	transport.DialContext = r.own.dialer().DialContext
	r.client = &http.Client{Transport: transport, Timeout: cfg.Timeout, CheckRedirect: func(next *http.Request, before []*http.Request) error {
		switch {
		case len(before) > maxRedirects:
			return fmt.Errorf("it was redirected more than %d times", maxRedirects)
		case next.URL.Scheme != "https" && before[0].URL.Scheme == "https":
			return fmt.Errorf("it was redirected to %s://, where anybody on the way may change it", next.URL.Scheme)
		}
		return nil
	}}
	return r, nil
}

// read is the policy as it was fetched last.
func (r *remote) read() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.content, r.err
}

// isFinal says whether no other policy can come: the one that is wanted is here.
func (r *remote) isFinal() bool {
	_, err := r.read()
	return err == nil && r.cfg.Sha256 != ""
}

// fetch asks the server. An error leaves what was fetched before.
func (r *remote) fetch(ctx context.Context) (outcome, error) {
	r.mu.Lock()
	etag := r.etag
	r.mu.Unlock()
	content, etag, err := r.get(ctx, etag)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		err = fmt.Errorf("fetch the policy from %s: %w", r.cfg.Endpoint, err)
		if r.err != nil {
			r.err = err
		}
		return failedToFetch, err
	case content == nil:
		return unchanged, nil
	}
	before := r.content
	r.content, r.etag, r.err = content, etag, nil
	if before != nil && bytes.Equal(before, content) {
		return unchanged, nil
	}
	return changed, nil
}

// get is the answer to one request; the content is nil where the server says that it is
// what it was.
func (r *remote) get(ctx context.Context, known string) (content []byte, etag string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.Endpoint, nil)
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Accept", "application/yaml, application/json, */*;q=0.5")
	request.Header.Set("User-Agent", "weir")
	if known != "" {
		request.Header.Set("If-None-Match", known)
	}
	if r.cfg.TokenFile != "" {
		var token bytes.Buffer // read each time, since tokens are renewed
		if err := securefile.Copy(&token, r.cfg.TokenFile, r.access, maxTokenSize); err != nil {
			return nil, "", fmt.Errorf("read url::token_file: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token.String()))
	}
	defer r.own.close()
	response, err := r.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && known != "":
		return nil, known, nil
	case response.StatusCode != http.StatusOK:
		return nil, "", fmt.Errorf("the server answered %.100q", response.Status)
	}
	content, err = io.ReadAll(io.LimitReader(response.Body, policy.MaxPolicySize+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("read the answer: %w", err)
	case len(content) > policy.MaxPolicySize:
		return nil, "", fmt.Errorf("it is larger than %d MiB", policy.MaxPolicySize>>20)
	}
	if sum := sha256.Sum256(content); r.cfg.Sha256 != "" && hex.EncodeToString(sum[:]) != strings.ToLower(r.cfg.Sha256) {
		return nil, "", fmt.Errorf("its SHA-256 is %x, the setting url::sha256 wants %s: either it is not the policy that was meant, or, once you have looked at it, set url::sha256 to what it is now", sum, r.cfg.Sha256)
	}
	return content, response.Header.Get("ETag"), nil
}
