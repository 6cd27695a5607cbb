package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// policyServer serves a policy from the peer.
type policyServer struct {
	url, ca string
	token   string // that it asks for; empty: none

	mu       sync.Mutex
	document string
	answer   int   // the status code, where it is not there
	answered []int // the codes of all answers
}

// servePolicy begins to serve a policy, over TLS with an authority of its own or in
// clear text.
func (l *lab) servePolicy(t *testing.T, secure bool, document string) *policyServer {
	t.Helper()
	s := &policyServer{document: document}
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8443)
	var listener net.Listener = l.b.listenTCP(t, at)
	s.url = "http://" + at.String() + "/policies/web.yaml"
	if secure {
		certificate := newCertificate(t, at.Addr().String())
		s.url = strings.Replace(s.url, "http:", "https:", 1)
		s.ca = filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	server := &http.Server{Handler: s}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return s
}

func (s *policyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(s.document)))
	code := http.StatusOK
	switch {
	case s.answer != 0:
		code = s.answer
	case s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token:
		code = http.StatusUnauthorized
	case r.Header.Get("If-None-Match") == tag:
		code = http.StatusNotModified
	}
	s.answered = append(s.answered, code)
	w.Header().Set("ETag", tag)
	w.WriteHeader(code)
	if code == http.StatusOK {
		fmt.Fprint(w, s.document)
	}
}

// sends has it send another document; a code other than 0 has it send that instead.
func (s *policyServer) sends(document string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.document, s.answer = document, code
}

// codes are what it has answered so far.
func (s *policyServer) codes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.answered)
}

// awaitCode waits until it has answered with a code so many times more.
func (s *policyServer) awaitCode(t *testing.T, code, more int) {
	t.Helper()
	before := len(s.codes())
	await(t, fmt.Sprintf("%d answers with %d", more, code), func() bool {
		n := 0
		for _, c := range s.codes()[before:] {
			if c == code {
				n++
			}
		}
		return n >= more
	})
}
