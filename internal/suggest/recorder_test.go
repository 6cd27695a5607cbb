package suggest

import (
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

func TestRecorder(t *testing.T) {
	plain := seen(packet.Outbound, 6, "192.0.2.1", "203.0.113.7", 443, "")
	named := func(name string) Seen {
		s := plain
		s.Name = name
		return s
	}
	tests := map[string]struct {
		record func(r *Recorder)
		want   string // the count, and what is asked of the other end
	}{
		"by address": {func(r *Recorder) { r.Connection(1, plain, false); r.Connection(1, plain, true) }, "1 destination: 203.0.113.7"},
		"by name": {func(r *Recorder) {
			r.Connection(1, plain, false)
			r.Named(1, named("a.example"))
			r.Connection(1, plain, true)
		}, `1 domains: "a.example"`},
		"by two names": {func(r *Recorder) {
			r.Connection(1, plain, false)
			r.Named(1, named("a.example"))
			r.Named(1, named("b.example"))
		}, `1 domains: ["a.example", "b.example"]`},
		"partly by name": {func(r *Recorder) {
			r.Connection(1, plain, false)
			r.Named(1, named("a.example"))
			r.Named(1, named(""))
		}, "1 destination: 203.0.113.7"},
		"no name":           {func(r *Recorder) { r.Connection(1, plain, false); r.Named(1, named("192.0.2.1")) }, "1 destination: 203.0.113.7"},
		"without a start":   {func(r *Recorder) { r.Connection(1, plain, true) }, "1 destination: 203.0.113.7"},
		"its name only":     {func(r *Recorder) { r.Named(1, named("a.example")) }, `1 domains: "a.example"`},
		"nothing but noise": {func(r *Recorder) { r.Named(1, named("!")) }, "1 destination: 203.0.113.7"},
		"without an id":     {func(r *Recorder) { r.Connection(0, plain, false); r.Connection(0, plain, false) }, "2 destination: 203.0.113.7"},
		"forgotten":         {func(r *Recorder) { r.Connection(1, plain, false); r.Forget(1) }, "0 "},
		"never ended":       {func(r *Recorder) { r.Connection(1, plain, false); r.Connection(2, plain, false) }, "2 destination: 203.0.113.7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := Recorder{To: New(DefaultConfig())}
			tt.record(&r)
			r.Flush()
			text, err := r.To.YAML()
			if err != nil {
				t.Fatal(err)
			}
			n, what, _ := strings.Cut(tt.want, " ")
			if !strings.HasPrefix(string(text), "# "+n+" connection") || !strings.Contains(string(text), what) {
				t.Errorf("want %s\n%s", tt.want, text)
			}
		})
	}
}
