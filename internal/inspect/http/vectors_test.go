package http

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/weirnet/weir/internal/corpora"
)

func readVectors(t *testing.T, pattern string, each func(t *testing.T, text []byte)) {
	files, err := filepath.Glob(filepath.Join(corpora.Path(t, "http2-vectors"), pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the vectors are not there")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), ".json"), func(t *testing.T) { each(t, text) })
	}
	t.Logf("%d vectors", len(files))
}

func TestFrameVectors(t *testing.T) {
	readVectors(t, "frames/*/*.json", func(t *testing.T, text []byte) {
		var v struct {
			Error []int
			Wire  string
			Frame struct {
				Length, Flags, Type int
				Stream              int `json:"stream_identifier"`
				Payload             struct {
					Padding   *int   `json:"padding_length"`
					Fragment  string `json:"header_block_fragment"`
					Data      string
					Promised  int `json:"promised_stream_id"`
					Last      int `json:"last_stream_id"`
					Increment int `json:"window_size_increment"`
				} `json:"frame_payload"`
			}
		}
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		wire, err := hex.DecodeString(v.Wire)
		if err != nil {
			t.Fatal(err)
		}
		f := frameOf(wire)
		var x fixed
		why := f.check(minMaxFrame)
		if why == None {
			x, why = f.readPrefix(wire[frameHeaderSize:][:f.prefix()])
		}
		if v.Error != nil {
			// RFC 9113 section 7: 1 is PROTOCOL_ERROR, 6 FRAME_SIZE_ERROR.
			code := 1
			if why == FrameSize {
				code = 6
			}
			if why == None || !slices.Contains(v.Error, code) {
				t.Errorf("%q, want error %d", why, v.Error)
			}
			return
		}
		want := v.Frame
		if why != None || int(f.length) != want.Length || int(f.kind) != want.Type || int(f.flags) != want.Flags || int(f.stream) != want.Stream {
			t.Errorf("%+v (%v), want %+v", f, why, want)
		}
		rest := wire[frameHeaderSize+f.prefix():]
		if p := want.Payload.Padding; p != nil {
			if int(x.padding) != *p {
				t.Errorf("padding %d, want %d", x.padding, *p)
			}
			rest = rest[:len(rest)-*p]
		}
		if carried := want.Payload.Fragment + want.Payload.Data; carried != "" && string(rest) != carried {
			t.Errorf("carries %q, want %q", rest, carried)
		}
		if number := want.Payload.Promised + want.Payload.Last + want.Payload.Increment; number != 0 && int(x.number) != number {
			t.Errorf("number %d, want %d", x.number, number)
		}
	})
}

// What comes out of a connection's decompressor are the headers of each story, cut
// into frames of any size. Many have headers that make a malformed request; they
// must not disturb what follows.
func TestHPACKVectors(t *testing.T) {
	readVectors(t, "hpack/*/*.json", func(t *testing.T, text []byte) {
		var story struct {
			Cases []struct {
				Wire    string
				Headers []map[string]string
			}
		}
		if err := json.Unmarshal(text, &story); err != nil {
			t.Fatal(err)
		}
		for _, piece := range []int{1, 7, 1 << 14} {
			var d driver
			d.p.Init(&Config{Limits: Limits{Continuations: 1 << 16}})
			w := newWriter(Client)
			d.say(Client, []byte(w.text()))
			var got []hpack.HeaderField
			side := &d.p.two.sides[Client]
			side.decoder.SetEmitFunc(func(f hpack.HeaderField) {
				got = append(got, hpack.HeaderField{Name: f.Name, Value: f.Value})
				side.block.field(f)
			})
			for i, c := range story.Cases {
				wire, err := hex.DecodeString(c.Wire)
				if err != nil {
					t.Fatal(err)
				}
				kind, flags := frameHeaders, uint8(flagEndStream)
				for len(wire) > 0 {
					n := min(piece, len(wire))
					if n == len(wire) {
						flags |= flagEndHeaders
					}
					w.raw(kind, flags, uint32(2*i+1), string(wire[:n]))
					kind, flags, wire = frameContinuation, 0, wire[n:]
				}
				got = nil
				d.say(Client, []byte(w.text()))
				var want []hpack.HeaderField
				for _, h := range c.Headers {
					for name, value := range h {
						want = append(want, hpack.HeaderField{Name: name, Value: value})
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("pieces of %d, case %d: %v, want %v", piece, i, got, want)
				}
			}
			requests := 0
			for i := range d.messages {
				if m := &d.messages[i]; m.Kind == Request {
					requests++
				} else if m.Kind == Broken {
					t.Error(brief(m))
				}
			}
			if requests != len(story.Cases) {
				t.Errorf("%d requests of %d", requests, len(story.Cases))
			}
		}
	})
}
