package http

// Limits bound what a connection can cost. A field of 0 has its default.
type Limits struct {
	// HeaderBytes bounds a header section (12288). In HTTP/1 the end is given up
	// beyond it; in HTTP/2 it is counted decompressed, with 32 bytes a header, and
	// only that request's facts are lost.
	HeaderBytes int
	// Headers bounds their number in a section (256); beyond it the facts are lost
	// and the parser goes on.
	Headers int
	// Pending bounds the requests of HTTP/1 that wait for their responses (128).
	// Beyond it requests are still read, but responses no more.
	Pending int
	// Streams bounds the streams of HTTP/2 that are followed (1024). Requests beyond
	// it are read, but not their responses.
	Streams int
	// Continuations bounds the frames of a header section in HTTP/2 (32); beyond it
	// the end is given up.
	Continuations int
	// TableBytes bounds a table of HPACK (16384, four times what is used unless the
	// other end allows more); an end that makes use of a larger one is given up. The
	// library's eviction costs time in proportion to the table, for every two bytes of
	// a hostile section.
	TableBytes int
}

// Config is what parsers share; it must not change once one has it.
type Config struct {
	Limits Limits
	// Headers are the names, in lower case, of those to be told.
	Headers []string
	// AcceptFolding takes folded headers for their lines joined by a space, as
	// RFC 9112 section 5.2 lets servers do; otherwise such requests are malformed.
	AcceptFolding bool
}

var defaults = Limits{HeaderBytes: 12288, Headers: 256, Pending: 128, Streams: 1024, Continuations: 32, TableBytes: 16384}

func (l Limits) withDefaults() Limits {
	for _, f := range [...]struct {
		value *int
		or    int
	}{
		{&l.HeaderBytes, defaults.HeaderBytes},
		{&l.Headers, defaults.Headers},
		{&l.Pending, defaults.Pending},
		{&l.Streams, defaults.Streams},
		{&l.Continuations, defaults.Continuations},
		{&l.TableBytes, defaults.TableBytes},
	} {
		if *f.value == 0 {
			*f.value = f.or
		}
	}
	return l
}
