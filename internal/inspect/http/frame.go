package http

import "encoding/binary"

// preface is what a client of HTTP/2 sends first (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// The types of frames (RFC 9113 section 6).
const (
	frameData uint8 = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

// The flags; flagAck is of SETTINGS and PING.
const (
	flagEndStream  = 0x01
	flagAck        = 0x01
	flagEndHeaders = 0x04
	flagPadded     = 0x08
	flagPriority   = 0x20
)

const (
	frameHeaderSize = 9
	minMaxFrame     = 1 << 14
	maxMaxFrame     = 1<<24 - 1
	maxStream       = 1<<31 - 1
)

// frame is a frame's header.
type frame struct {
	length      uint32
	kind, flags uint8
	stream      uint32
}

// frameOf reads 9 bytes.
func frameOf(b []byte) frame {
	return frame{
		length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & maxStream,
	}
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// padded frames are of these types; in others the bit means nothing.
func (f *frame) padded() bool {
	return f.has(flagPadded) && (f.kind == frameData || f.kind == frameHeaders || f.kind == framePush)
}

// prefix is how many bytes of the payload come before what the frame carries; of
// frames of fixed size it is all of them.
func (f *frame) prefix() (n uint32) {
	if f.padded() {
		n++
	}
	switch f.kind {
	case frameHeaders:
		if f.has(flagPriority) {
			n += 5
		}
	case framePriority:
		n = 5
	case framePush, frameReset, frameWindow:
		n += 4
	case framePing, frameGoAway:
		n = 8
	}
	return n
}

// check compares what the header alone tells with what the type allows. largest is
// the receiver's SETTINGS_MAX_FRAME_SIZE.
func (f *frame) check(largest uint32) Reason {
	if f.length > largest {
		return FrameSize
	}
	switch f.kind {
	case frameSettings, framePing, frameGoAway:
		if f.stream != 0 {
			return FrameStream
		}
	case frameData, frameHeaders, framePriority, frameReset, framePush, frameContinuation:
		if f.stream == 0 {
			return FrameStream
		}
	}
	switch f.kind {
	case framePriority, frameReset, framePing, frameWindow:
		if f.length != f.prefix() {
			return FrameSize
		}
	case frameSettings:
		if f.length%6 != 0 || f.has(flagAck) && f.length != 0 {
			return FrameSize
		}
	default:
		if f.length < f.prefix() {
			return FrameSize
		}
	}
	return None
}

// fixed is what the prefix of a payload says.
type fixed struct {
	padding uint32
	// number is the promised stream, the increment of the window, or the last stream
	// of GOAWAY.
	number uint32
}

// readPrefix reads as many bytes as prefix says, and checks them.
func (f *frame) readPrefix(b []byte) (x fixed, why Reason) {
	if f.padded() {
		x.padding, b = uint32(b[0]), b[1:]
		if x.padding > f.length-f.prefix() {
			return x, FramePadding
		}
	}
	switch f.kind {
	case framePush, frameWindow, frameGoAway:
		x.number = binary.BigEndian.Uint32(b) & maxStream
	}
	switch {
	case f.kind == framePush && (x.number == 0 || x.number%2 == 1):
		return x, FrameStream
	case f.kind == frameWindow && x.number == 0:
		return x, FrameValue
	}
	return x, None
}
