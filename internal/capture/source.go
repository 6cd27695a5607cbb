package capture

import (
	"errors"
	"fmt"
	"io"
)

// sourceBuffer is what is read at once, and the memory a reader needs until a
// longer frame comes.
const sourceBuffer = 64 << 10

// source hands out the bytes of a stream in place, and knows where it is.
type source struct {
	from  io.Reader
	data  []byte
	start int   // data[start:end] are read, and not taken
	end   int   // .
	at    int64 // offset of data[start]
	err   error // of from, once its bytes are used up
}

func newSource(from io.Reader) source {
	return source{from: from, data: make([]byte, sourceBuffer)}
}

func (s *source) held() int { return s.end - s.start }

// peek returns the next n bytes, valid until the next call, and leaves them. n is
// at most MaxFrame and some header. Where there are fewer, it returns those and
// the cause, io.EOF at the end.
func (s *source) peek(n int) ([]byte, error) {
	if s.held() < n {
		if err := s.fill(n); err != nil {
			return s.data[s.start:s.end], err
		}
	}
	return s.data[s.start : s.start+n], nil
}

func (s *source) fill(n int) error {
	if s.start+n > len(s.data) {
		to := s.data
		if n > len(to) {
			to = make([]byte, max(n, 2*len(to)))
		}
		s.end = copy(to, s.data[s.start:s.end])
		s.start = 0
		s.data = to
	}
	for idle := 0; s.held() < n; {
		if s.err != nil {
			return s.err
		}
		var got int
		got, s.err = s.from.Read(s.data[s.end:])
		s.end += got
		if idle++; got > 0 {
			idle = 0
		} else if idle == 100 && s.err == nil {
			s.err = io.ErrNoProgress
		}
	}
	return nil
}

// take drops the n bytes that were peeked.
func (s *source) take(n int) {
	s.start += n
	s.at += int64(n)
}

// skip drops n bytes, however many.
func (s *source) skip(n int64) error {
	for n > 0 {
		if s.held() == 0 {
			if _, err := s.peek(1); err != nil {
				return err
			}
		}
		some := int(min(n, int64(s.held())))
		s.take(some)
		n -= int64(some)
	}
	return nil
}

// cut names the error of a stream that ended inside what began at offset began.
func (s *source) cut(err error, began int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &CutError{Offset: began, End: s.at + int64(s.held())}
	}
	return fmt.Errorf("read capture at offset %d: %w", s.at+int64(s.held()), err)
}

// Read lets a decompressor take from the stream what was peeked, and the rest.
func (s *source) Read(to []byte) (int, error) {
	if s.held() == 0 {
		if _, err := s.peek(1); err != nil {
			return 0, err
		}
	}
	n := copy(to, s.data[s.start:s.end])
	s.take(n)
	return n, nil
}

// ReadByte keeps gzip from buffering once more.
func (s *source) ReadByte() (byte, error) {
	b, err := s.peek(1)
	if err != nil {
		return 0, err
	}
	s.take(1)
	return b[0], nil
}
