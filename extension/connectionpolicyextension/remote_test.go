package connectionpolicyextension

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"

	"github.com/weirnet/weir/internal/policy"
)

// policyServer serves a policy; what it does is changed while it runs.
type policyServer struct {
	*httptest.Server
	handle   atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64
	last     atomic.Pointer[http.Request]
}

// serve is a server that can be fetched from with the settings that it returns.
func serve(t *testing.T, content string) (*policyServer, func(*Config)) {
	t.Helper()
	s := &policyServer{}
	s.sends(content)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.last.Store(r)
		(*s.handle.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	ca := t.TempDir() + "/ca.pem"
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	return s, func(c *Config) {
		u := NewDefaultURL()
		u.Endpoint, u.CaFile, u.Timeout = s.URL+"/policy.yaml", ca, 2*time.Second
		c.File, c.URL = "", configoptional.Some(u)
	}
}

func (s *policyServer) does(f http.HandlerFunc) { s.handle.Store(&f) }

// sends has it send content, with an ETag.
func (s *policyServer) sends(content string) {
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(content)))
	s.does(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, content)
	})
}

// fetchURL changes the settings of the URL.
func fetchURL(change func(*URL)) func(*Config) {
	return func(c *Config) {
		u := *c.URL.Get()
		change(&u)
		c.URL = configoptional.Some(u)
	}
}

// fetchStarted is a bench whose first policy was fetched.
func fetchStarted(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := newBench(t, "", change...)
	b.report.host = b.host
	b.fetch(t.Context())
	require.NoError(t, b.first())
	return b
}

func TestURL(t *testing.T) {
	s, from := serve(t, oneRule)
	b := fetchStarted(t, from)
	f := &enforcer{}
	b.subscribe(f)
	require.Equal(t, 1, f.rules())
	d, err := b.Document()
	require.NoError(t, err)
	assert.Equal(t, s.URL+"/policy.yaml", d.Source)
	assert.Equal(t, oneRule, string(d.Content))
	assert.False(t, d.Writable)
	_, err = b.Replace(Replacement{Content: []byte(twoRules)})
	require.ErrorIs(t, err, ErrNotWritable)
	require.ErrorContains(t, err, "is changed there")

	assert.Equal(t, unchanged, b.fetch(t.Context()))
	assert.NotEmpty(t, s.last.Load().Header.Get("If-None-Match"))
	s.sends(twoRules)
	assert.Equal(t, changed, b.fetch(t.Context()))
	b.look()
	assert.Equal(t, 2, f.rules())

	// What is wrong with it, or with the server, leaves the one in force.
	s.sends(broken)
	assert.Equal(t, changed, b.fetch(t.Context()))
	b.look()
	assert.Equal(t, 2, f.rules())
	assert.Contains(t, f.last(), "policy.yaml:1")
	s.sends(threeRules)
	b.fetch(t.Context())
	b.look()
	require.Equal(t, 3, f.rules())
	for name, answer := range map[string]http.HandlerFunc{
		"Internal Server Error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"unexpected EOF": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, oneRule)
		},
		"is larger than 64 MiB": func(w http.ResponseWriter, _ *http.Request) {
			for block := []byte(strings.Repeat("#", 1<<20)); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"redirected to http://": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+r.URL.Path, http.StatusFound)
		},
		"redirected more than": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"exceeded":             func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		s.does(answer)
		assert.Equal(t, failedToFetch, b.fetch(t.Context()), name)
		b.look()
		assert.Equal(t, 3, f.rules(), name)
		assert.ErrorContains(t, b.report.problem(), name)
		assert.Equal(t, componentstatus.StatusRecoverableError, b.host.statuses()[len(b.host.statuses())-1])
	}
	s.sends(threeRules)
	assert.Equal(t, unchanged, b.fetch(t.Context()))
	require.NoError(t, b.report.problem())
	assert.Len(t, b.logs.FilterMessage("The policy can be fetched again").All(), 1)
}

// A server that does not answer holds up nobody.
func TestURLHoldsUpNobody(t *testing.T) {
	s, from := serve(t, oneRule)
	b := fetchStarted(t, from, fetchURL(func(u *URL) { u.Timeout = time.Minute }))
	asked, fetched := make(chan struct{}), make(chan struct{})
	s.does(func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(fetched); b.fetch(ctx) }()
	<-asked
	_, err := b.Document()
	require.NoError(t, err)
	select {
	case <-fetched:
		t.Error("it waited for the server")
	default:
	}
	cancel()
	<-fetched
}

// Where it cannot be fetched at the start, what was in force last is; it is taken up
// when the server is there again.
func TestURLAtStart(t *testing.T) {
	s, from := serve(t, oneRule)
	b := fetchStarted(t, from)
	b.subscribe(&enforcer{})
	state := b.cfg.StateDirectory
	s.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })

	quick := fetchURL(func(u *URL) { u.PollInterval = minPoll })
	again := newBench(t, "", from, quick, func(c *Config) { c.StateDirectory = state; c.ReloadInterval = 50 * time.Millisecond })
	again.policyExtension.now = time.Now
	require.NoError(t, again.Start(t.Context(), again.host))
	f := &enforcer{}
	again.subscribe(f)
	assert.Equal(t, 1, f.rules())
	assert.Len(t, again.logs.FilterMessage("The policy was refused. The last good one is in force instead").All(), 1)
	s.sends(twoRules)
	require.Eventually(t, func() bool { return f.rules() == 2 }, 20*time.Second, 20*time.Millisecond)
	require.NoError(t, again.Shutdown(context.Background()))
	n := s.requests.Load()
	time.Sleep(1500 * time.Millisecond)
	assert.Equal(t, n, s.requests.Load(), "nothing is fetched behind the end")

	none := newBench(t, "", from)
	s.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	require.ErrorContains(t, none.Start(t.Context(), none.host), "502 Bad Gateway")
}

func TestURLHash(t *testing.T) {
	s, from := serve(t, oneRule)
	sum := func(content string) func(*Config) {
		return fetchURL(func(u *URL) { u.Sha256 = strings.ToUpper(fmt.Sprintf("%x", sha256.Sum256([]byte(content)))) })
	}
	b := fetchStarted(t, from, sum(oneRule))
	assert.True(t, b.watch.reader.remote.isFinal())
	s.sends(twoRules)
	assert.Equal(t, failedToFetch, b.fetch(t.Context()))

	b = newBench(t, "", from, sum(oneRule))
	b.fetch(t.Context())
	require.ErrorContains(t, b.first(), "its SHA-256 is")

	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, oneRule) }))
	t.Cleanup(plain.Close)
	fetchStarted(t, from, sum(oneRule), fetchURL(func(u *URL) { u.Endpoint = plain.URL }))
}

func TestURLToken(t *testing.T) {
	s, from := serve(t, oneRule)
	token := t.TempDir() + "/token"
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o644))
	b := newBench(t, "", from, fetchURL(func(u *URL) { u.TokenFile = token }))
	assert.Equal(t, failedToFetch, b.fetch(t.Context()))
	assert.ErrorContains(t, b.report.problem(), "chmod")
	assert.Zero(t, s.requests.Load())
	require.NoError(t, os.Chmod(token, 0o600))
	assert.Equal(t, changed, b.fetch(t.Context()))
	assert.Equal(t, "Bearer secret", s.last.Load().Header.Get("Authorization"))
}

// Whoever sends a policy chooses no files of this host but those that are meant for it.
func TestURLLists(t *testing.T) {
	s, from := serve(t, withLists)
	b := newBench(t, "", from)
	b.fetch(t.Context())
	require.ErrorContains(t, b.first(), "lists_dir")

	b = newBench(t, "", from, func(c *Config) { c.ListsDir = c.StateDirectory + "-lists" })
	b.write("state-lists/lists/bad.txt", "192.0.2.1\n")
	b.fetch(t.Context())
	require.NoError(t, b.first())
	f := &enforcer{}
	b.subscribe(f)
	b.write("state-lists/lists/bad.txt", "192.0.2.1\n192.0.2.2\n")
	b.look()
	assert.Len(t, f.numbers(), 2, "a list that changed")
	for _, path := range []string{"/etc/passwd", "../../etc/passwd", b.path("state-lists-of-others/x")} {
		s.sends(strings.Replace(withLists, "lists/bad.txt", path, 1))
		b.fetch(t.Context())
		b.look()
		assert.Contains(t, f.last(), "(lists_dir)", path)
	}
}

func TestURLConfig(t *testing.T) {
	const hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for name, tt := range map[string]struct {
		settings map[string]any
		want     string
	}{
		"https":                       {map[string]any{"endpoint": "https://policies.example.com/weir.yaml"}, ""},
		"http with a hash":            {map[string]any{"endpoint": "http://policies.example.com/weir.yaml", "sha256": hash}, ""},
		"http":                        {map[string]any{"endpoint": "http://policies.example.com/weir.yaml"}, "url::sha256 is missing"},
		"http with a token":           {map[string]any{"endpoint": "http://policies.example.com/", "sha256": hash, "token_file": "/t"}, "in the clear"},
		"no endpoint":                 {map[string]any{}, "url::endpoint"},
		"another scheme":              {map[string]any{"endpoint": "ftp://policies.example.com/"}, "accepted is a URL such as"},
		"a password":                  {map[string]any{"endpoint": "https://a:b@policies.example.com/"}, "token_file"},
		"a fragment":                  {map[string]any{"endpoint": "https://policies.example.com/#x"}, "fragment"},
		"half a hash":                 {map[string]any{"endpoint": "https://policies.example.com/", "sha256": "abcd"}, "64 hexadecimal digits"},
		"asked all the time":          {map[string]any{"endpoint": "https://policies.example.com/", "poll_interval": "1ms"}, "poll_interval"},
		"no time":                     {map[string]any{"endpoint": "https://policies.example.com/", "timeout": "0s"}, "timeout"},
		"no hash that could be known": {map[string]any{"endpoint": "https://policies.example.com/", "sha256": strings.Repeat("x", 64)}, "64 hexadecimal digits"},
	} {
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, confmap.NewFromStringMap(map[string]any{"url": tt.settings}).Unmarshal(cfg), name)
		err := cfg.Validate()
		if tt.want == "" {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorContains(t, err, tt.want, name)
		}
	}
	u := NewDefaultURL()
	u.Endpoint = "https://policies.example.com/"
	both := Config{File: "p.yaml", URL: configoptional.Some(u)}
	require.ErrorContains(t, both.Validate(), "more than one is set")
	never := Config{URL: configoptional.Some(u)}
	require.ErrorContains(t, never.Validate(), "url::poll_interval would not count")
	u.Sha256 = hash
	never.URL = configoptional.Some(u)
	require.NoError(t, never.Validate())
	assert.EqualValues(t, 64<<20, policy.MaxPolicySize, "what the documentation says")
}
