package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	stdhttp "net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	//lint:ignore SA1019 net/http knows HTTP/2 in clear text, but not the upgrade to it
	"golang.org/x/net/http2/h2c"

	"github.com/weirnet/weir/internal/policy"
)

// recorder keeps what both ends of a connection send, in order.
type recorder struct {
	net.Conn
	mutex sync.Mutex
	said  []said
}

func (r *recorder) note(end End, data []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if n := len(r.said); n > 0 && r.said[n-1].end == end {
		r.said[n-1].text += string(data)
	} else if len(data) > 0 {
		r.said = append(r.said, said{end, string(data)})
	}
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.note(Server, b[:n])
	return n, err
}

func (r *recorder) Write(b []byte) (int, error) {
	r.note(Client, b) // before the server can answer
	return r.Conn.Write(b)
}

func (r *recorder) all() []said {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([]said(nil), r.said...)
}

// serve runs a server of the standard library for as long as the test.
func serve(t *testing.T, h stdhttp.Handler, protocols *stdhttp.Protocols) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stdhttp.Server{Handler: h, Protocols: protocols, ReadHeaderTimeout: time.Minute}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func echo(w stdhttp.ResponseWriter, r *stdhttp.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Path", r.URL.Path)
	switch r.URL.Path {
	case "/none":
		w.WriteHeader(204)
	case "/chunked":
		w.Header().Set("Trailer", "X-End")
		for range 3 {
			fmt.Fprintf(w, "%s and more", body)
			w.(stdhttp.Flusher).Flush()
		}
		w.Header().Set("X-End", "1")
	case "/early":
		w.WriteHeader(103)
		w.WriteHeader(404)
	default:
		fmt.Fprintf(w, "%s of %d bytes", r.Method, len(body))
	}
}

// The client and the server of the standard library, in all protocols that are in
// clear text.
func TestStandardLibrary(t *testing.T) {
	one, two := new(stdhttp.Protocols), new(stdhttp.Protocols)
	one.SetHTTP1(true)
	two.SetUnencryptedHTTP2(true)
	for _, c := range []struct {
		version   string
		protocols *stdhttp.Protocols
	}{{"1.1", one}, {"2", two}} {
		t.Run(c.version, func(t *testing.T) {
			address := serve(t, stdhttp.HandlerFunc(echo), c.protocols)
			var r *recorder
			transport := &stdhttp.Transport{
				Protocols: c.protocols,
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					r = &recorder{Conn: conn}
					return r, err
				},
			}
			const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			type request struct {
				method, path, body string
				status             int
				sent, received     int
			}
			requests := []request{
				{"GET", "/a?b=c", "", 200, 0, 14},
				{"HEAD", "/head", "", 200, 0, 0},
				{"POST", "/post", strings.Repeat("body ", 5000), 200, 25000, 19},
				{"PUT", "/chunked", "some", 200, 4, 39},
				{"GET", "/none", "", 204, 0, 0},
				{"GET", "/early", "", 404, 0, 0},
				{"OPTIONS", "/%7Euser/../x", "", 200, 0, 18},
			}
			for _, q := range requests {
				var body io.Reader
				if q.body != "" {
					// Without a length: chunked in HTTP/1.
					body = io.MultiReader(strings.NewReader(q.body))
				}
				req, err := stdhttp.NewRequest(q.method, "http://"+address+q.path, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Traceparent", trace)
				req.Header.Set("User-Agent", "test/1")
				req.Header.Add("X-Env", "Prod")
				req.Header.Add("X-Env", "stage")
				res, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != q.status {
					t.Fatal(q.path, res.Status)
				}
			}
			transport.CloseIdleConnections()
			messages := converse(t, &Config{Headers: []string{"x-env", "x-path"}}, true, r.all()...)
			got := map[uint64]*request{}
			for i := range messages {
				m := &messages[i]
				switch m.Kind {
				case Request:
					path := m.Path
					if m.HasQuery {
						path += "?" + m.Query
					}
					got[m.Exchange] = &request{method: m.Method, path: path}
					want := policy.Is(map[string][]string{"x-env": {"Prod", "stage"}})
					if fmt.Sprint(m.Facts.Headers) != fmt.Sprint(want) || m.Facts.Host != policy.Is("127.0.0.1") || m.Facts.Version != policy.Is(c.version) || m.Facts.Method != policy.Is(m.Method) {
						t.Errorf("%+v", m.Facts)
					}
					if m.Port == 0 || m.UserAgent != "test/1" || !m.Trace.Valid || m.Trace.Flags != 1 || fmt.Sprintf("%x", m.Trace.ParentID) != "b7ad6b7169203331" {
						t.Errorf("%+v", m)
					}
				case Response:
					got[m.Exchange].status = int(m.Status)
					if m.Status != 103 && (len(m.Headers) != 1 || m.Headers[0].Name != "x-path") {
						t.Errorf("%+v", m.Headers)
					}
				case Ended:
					if m.End == Client {
						got[m.Exchange].sent = int(m.Body)
					} else {
						got[m.Exchange].received = int(m.Body)
					}
				default:
					t.Error(brief(m))
				}
				if m.Reason != None {
					t.Error(brief(m))
				}
			}
			for i, want := range requests {
				want.body = ""
				if g := got[uint64(i+1)]; g == nil || *g != want {
					t.Errorf("%d: %+v, want %+v", i+1, g, want)
				}
			}
			if path := messages[0].Facts.Path; path != policy.Is("/a") {
				t.Error(path)
			}
		})
	}
}

// An upgrade to HTTP/2: the request comes in HTTP/1, its response in HTTP/2.
func TestUpgradeToHTTP2(t *testing.T) {
	//lint:ignore SA1019 see the import
	address := serve(t, h2c.NewHandler(stdhttp.HandlerFunc(echo), &http2.Server{}), nil)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := &recorder{Conn: conn}
	fmt.Fprintf(r, "GET /first HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n\r\n")
	in := bufio.NewReader(r)
	for line := ""; line != "\r\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	w := newWriter(Client)
	w.get(3, "/second")
	io.WriteString(r, w.text())
	framer := http2.NewFramer(io.Discard, in)
	for ended := 0; ended < 2; {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header().Flags.Has(http2.FlagDataEndStream) && f.Header().Type == http2.FrameData {
			ended++
		}
	}
	messages := converse(t, &Config{}, false, r.all()...)
	var client, server []string
	for i := range messages {
		if m := &messages[i]; m.End == Client {
			client = append(client, brief(m))
		} else if m.Kind != Ended {
			server = append(server, brief(m))
		}
	}
	const want = `request 1 GET http://h.example/first 1.1
ended 1 client 0
request 2/3 GET http://h.example/second 2
ended 2/3 client 0`
	if got := strings.Join(client, "\n"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, want := range []string{"response 1 101 1.1", "switched 1 2 at [125 71] h2c", "response 1/1 200 2", "response 2/3 200 2"} {
		if !strings.Contains(strings.Join(server, "\n"), want) {
			t.Errorf("%q, want %s", server, want)
		}
	}
}
