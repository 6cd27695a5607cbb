package connectionapiextension

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/weirnet/weir/extension/connectionapiextension/internal/metadata"
)

// knows is an authenticator that knows one user.
type knows struct {
	component.StartFunc
	component.ShutdownFunc
}

type user string

func (u user) GetAttribute(name string) any {
	if name == "subject" {
		return string(u)
	}
	return nil
}

func (user) GetAttributeNames() []string { return []string{"subject"} }

func (knows) Authenticate(ctx context.Context, headers map[string][]string) (context.Context, error) {
	if len(headers["Authorization"]) == 0 || headers["Authorization"][0] != "Bearer sesame" {
		return ctx, errors.New("who is it?")
	}
	info := client.FromContext(ctx)
	info.Auth = user("ali\nbaba")
	return client.NewContext(ctx, info), nil
}

// certificate is one of 127.0.0.1, and its key, as files.
func certificate(t *testing.T, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, text, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	pool = x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	return certFile, keyFile, pool
}

// Over TCP there is TLS, and nobody comes past the authenticator; the audit log has
// the name that it knows.
func TestTCP(t *testing.T) {
	b := newBench(t) // for its policy and audit log
	certFile, keyFile, pool := certificate(t, b.dir)
	id := component.MustNewID("knows")
	extensions := map[component.ID]component.Component{id: knows{}}
	for id, e := range b.host.extensions {
		extensions[id] = e
	}
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"endpoint": "127.0.0.1:0", "auth": map[string]any{"authenticator": "knows"},
		"tls": map[string]any{"cert_file": certFile, "key_file": keyFile},
	}).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	a, err := newAPI(extensiontest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context(), &host{componenttest.NewNopHost(), extensions}))
	t.Cleanup(func() { require.NoError(t, a.Shutdown(context.Background())) })

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	call := func(token string) int {
		request, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+a.listener.Addr().String()+"/v1/policy/confirm", nil)
		require.NoError(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := transport.RoundTrip(request)
		require.NoError(t, err)
		response.Body.Close()
		return response.StatusCode
	}
	assert.Equal(t, http.StatusUnauthorized, call(""))
	assert.Equal(t, http.StatusUnauthorized, call("wrong"))
	assert.Equal(t, http.StatusConflict, call("sesame"))
	calls := b.audit(1)
	require.Len(t, calls, 1, "who is not known is not in it")
	assert.Regexp(t, `^"ali\\\\nbaba" at 127\.0\.0\.1:\d+: POST /v1/policy/confirm refused: no change waits`, calls[0])
}

// One that is not there is said when it starts, not at the first call.
func TestWrongNames(t *testing.T) {
	b := newBench(t)
	for name, settings := range map[string]map[string]any{
		"there are connection_policy": {"policy": "other"},
		"nobody":                      {"endpoint": "127.0.0.1:0", "auth": map[string]any{"authenticator": "nobody"}},
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.NetAddr.Endpoint = filepath.Join(t.TempDir(), "run", "api.sock")
		require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
		a, err := newAPI(extensiontest.NewNopSettings(metadata.Type), cfg)
		require.NoError(t, err)
		assert.ErrorContains(t, a.Start(t.Context(), b.host), name)
	}
	second := component.MustNewIDWithName("connection_policy", "second")
	b.host.extensions[second] = b.host.extensions[component.MustNewID("connection_policy")]
	_, err := findPolicies(b.host.extensions, nil)
	assert.ErrorContains(t, err, "connection_policy, connection_policy/second")
	found, err := findPolicies(b.host.extensions, &second)
	require.NoError(t, err)
	assert.NotNil(t, found)
}
