package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

// socketVariable names the socket where --socket does not.
const socketVariable = "WEIRCTL_SOCKET"

// callTimeout is how long a call may take, but for the stream of events.
const callTimeout = 2 * time.Minute

// apiFlags say where the API is.
type apiFlags struct {
	socket, url, tokenFile, caFile string
}

// live makes c a command that talks to a running Weir.
func live(c *cobra.Command) *apiFlags {
	f := &apiFlags{}
	c.GroupID = liveGroup
	c.Flags().StringVar(&f.socket, "socket", "", "socket of the API; the default is $"+socketVariable+", or else "+apiclient.Socket)
	c.Flags().StringVar(&f.url, "url", "", "URL of an API over TCP, such as https://192.0.2.1:4319")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "with --url: a file with the bearer token")
	c.Flags().StringVar(&f.caFile, "ca-file", "", "with --url: certificates of the authorities to trust, instead of the system's")
	c.MarkFlagsMutuallyExclusive("socket", "url")
	c.MarkFlagsMutuallyExclusive("socket", "token-file")
	c.MarkFlagsMutuallyExclusive("socket", "ca-file")
	return f
}

func (f *apiFlags) client() (*apiclient.Client, error) {
	if f.url == "" {
		if f.tokenFile != "" || f.caFile != "" {
			return nil, errors.New("--token-file and --ca-file are of an API over TCP; say --url")
		}
		return apiclient.New(f.path(), nil), nil
	}
	u, err := url.Parse(f.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--url %q is not accepted; accepted: a URL such as https://192.0.2.1:4319", f.url)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	if f.caFile != "" {
		pem, err := readFile(f.caFile, 1<<20)
		if err != nil {
			return nil, failedWith(err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, failedWith(fmt.Errorf("%s has no certificate; accepted: PEM", f.caFile))
		}
		base.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if f.tokenFile == "" {
		return apiclient.New(f.url, base), nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("--token-file: the token would cross the network in the clear; accepted: https://, or http:// to a loopback address")
	}
	token, err := readFile(f.tokenFile, 64<<10)
	if err != nil {
		return nil, failedWith(err)
	}
	return apiclient.New(f.url, &bearer{base, strings.TrimSpace(string(token))}), nil
}

func (f *apiFlags) path() string {
	if f.socket != "" {
		return f.socket
	}
	if path := os.Getenv(socketVariable); path != "" {
		return path
	}
	return apiclient.Socket
}

// bearer sends a token with each request (RFC 6750).
type bearer struct {
	next  http.RoundTripper
	token string
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// call lets do make its calls, and says of an error what to do about it.
func (f *apiFlags) call(c *cobra.Command, do func(context.Context, *apiclient.Client) error) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), callTimeout)
	defer cancel()
	return f.told(do(ctx, client))
}

// told is an error with what to do about it.
func (f *apiFlags) told(err error) error {
	var problem *apiclient.Problem
	var known *commandError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &problem):
		return failedWith(errors.New(problemText(problem)))
	case f.url != "":
		return failedWith(err)
	case errors.Is(err, fs.ErrNotExist):
		return failedWith(fmt.Errorf("there is no socket %s: is Weir running, with the extension connection_api? Another place is named with --socket", f.path()))
	case errors.Is(err, fs.ErrPermission):
		return failedWith(fmt.Errorf("the socket %s is closed to this user: be root, or the user that runs Weir", f.path()))
	case errors.Is(err, syscall.ECONNREFUSED):
		return failedWith(fmt.Errorf("nobody answers at %s: Weir was killed, or is starting", f.path()))
	}
	return failedWith(err)
}

// problemText is what the API refused, and what to do about it.
func problemText(p *apiclient.Problem) string {
	lines := []string{}
	if len(p.Errors) == 0 {
		lines = append(lines, clean(orElse(p.Detail, p.Title)))
	}
	for _, e := range p.Errors {
		lines = append(lines, clean(e.Message))
	}
	switch p.Status {
	case http.StatusUnauthorized:
		lines[0] += "; say who you are with --token-file"
	case http.StatusPreconditionFailed:
		lines[0] += "; look at what it is now, and apply again"
	}
	return strings.Join(lines, "\n")
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
