package http

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// writer writes what one end sends in HTTP/2.
type writer struct {
	buffer bytes.Buffer
	framer *http2.Framer
	hpack  *hpack.Encoder
	block  bytes.Buffer
}

func newWriter(end End) *writer {
	w := &writer{}
	w.framer = http2.NewFramer(&w.buffer, nil)
	w.framer.AllowIllegalWrites = true
	w.hpack = hpack.NewEncoder(&w.block)
	if end == Client {
		w.buffer.WriteString(preface)
	}
	w.framer.WriteSettings()
	return w
}

// fields compresses headers given as "name: value".
func (w *writer) fields(headers ...string) []byte {
	w.block.Reset()
	for _, h := range headers {
		i := strings.Index(h[1:], ": ") + 1
		w.hpack.WriteField(hpack.HeaderField{Name: h[:i], Value: h[i+2:]})
	}
	return bytes.Clone(w.block.Bytes())
}

// headers is a HEADERS frame; end ends the stream.
func (w *writer) headers(stream uint32, end bool, headers ...string) *writer {
	w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: w.fields(headers...), EndStream: end, EndHeaders: true})
	return w
}

func (w *writer) get(stream uint32, path string) *writer {
	return w.headers(stream, true, ":method: GET", ":scheme: http", ":path: "+path, ":authority: h.example")
}

func (w *writer) data(stream uint32, end bool, text string) *writer {
	w.framer.WriteData(stream, end, []byte(text))
	return w
}

// raw is a frame as it is given.
func (w *writer) raw(kind, flags uint8, stream uint32, payload string) *writer {
	w.framer.WriteRawFrame(http2.FrameType(kind), http2.Flags(flags), stream, []byte(payload))
	return w
}

// text is what was written since the last call.
func (w *writer) text() string {
	text := w.buffer.String()
	w.buffer.Reset()
	return text
}
