package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Over TCP there is a token, and a certificate that is checked.
func TestOverTCP(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write([]byte(`{"generation": 7}`))
	}))
	defer server.Close()
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, content := range map[string][]byte{token: []byte("secret\n"), ca: certificate} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for arguments, want := range map[string]string{
		"--token-file " + token + " --ca-file " + ca: "Generation 7 stays.",
		"--ca-file " + ca:                               "say who you are with --token-file",
		"--token-file " + token:                         "certificate",
		"--ca-file " + token:                            "accepted: PEM",
		"--ca-file " + ca + " --token-file /nowhere/it": "no such file",
	} {
		var out strings.Builder
		code := run(append([]string{"confirm", "--url", server.URL}, strings.Fields(arguments)...), strings.NewReader(""), &out, &out, nil)
		if !strings.Contains(out.String(), want) || (code == 0) != strings.HasPrefix(want, "Generation") {
			t.Errorf("%s: exit code %d, %s; want %s", arguments, code, out.String(), want)
		}
	}
}

// Whoever may not use the socket is told what to be; so is who finds a dead one.
func TestSocketErrors(t *testing.T) {
	b := newBench(t)
	for err, want := range map[error]string{os.ErrPermission: "be root", os.ErrNotExist: "is Weir running"} {
		if got := (&apiFlags{socket: b.socket}).told(err); !strings.Contains(got.Error(), want) {
			t.Errorf("%v is told as %v", err, got)
		}
	}
	dead := filepath.Join(b.dir, "dead")
	if err := os.WriteFile(dead, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, complaints := b.weirctl("confirm", "--socket", dead); code != exitFailed || !strings.Contains(complaints, "nobody answers at") {
		t.Errorf("exit code %d, %s", code, complaints)
	}
}
