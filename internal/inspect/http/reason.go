package http

import "github.com/weirnet/weir/internal/policy"

// Reason says what is wrong with a message.
type Reason uint8

// The reasons. Those of malformed messages name a shape that servers and proxies
// read differently, or that no client sends.
const (
	None Reason = iota

	// The first line.
	RequestLine
	HTTP09
	Method
	Target
	Version
	StatusLine

	// The header section.
	HeaderLine
	HeaderName
	SpaceBeforeColon
	Folding
	Control
	WhiteSpace
	NUL
	BareCR
	MixedLineEnds
	DuplicateHeader
	HostValue
	HostMismatch

	// The framing.
	ContentLength
	DifferingLengths
	BothLengths
	TransferEncoding
	TransferEncoding10
	ConnectBody
	ChunkSize
	ChunkExtension
	ChunkEnd
	ForbiddenTrailer
	BodyLength
	Truncated
	UnexpectedSwitch

	// HTTP/2.
	Preface
	FrameSize
	FrameStream
	FramePadding
	FrameType
	FrameValue
	HeaderCompression
	StreamReused
	PseudoHeader
	ConnectionHeader
	StreamReset
	GoAway

	// Limits.
	TooManyHeaderBytes
	TooManyHeaders
	TooManyPending
	TooManyStreams
	TooManyContinuations
	TableSize
	ChunkLine
	BufferLimit

	// What was not seen.
	Missed
	AnswersMissed
	Closed
)

var reasons = [...]struct {
	cause policy.Cause
	text  string
}{
	None:             {0, ""},
	RequestLine:      {policy.Malformed, "the first line is not a method, a target and a version, with one space between them"},
	HTTP09:           {policy.Malformed, "the request has no version, as in HTTP/0.9"},
	Method:           {policy.Malformed, "the method is not a token"},
	Target:           {policy.Malformed, "the target is not one that the method can have, or has characters that targets have not"},
	Version:          {policy.Malformed, "the version is not HTTP/1.0 or HTTP/1.1"},
	StatusLine:       {policy.Malformed, "the first line is not a version and a status of three digits"},
	HeaderLine:       {policy.Malformed, "a header line has no colon"},
	HeaderName:       {policy.Malformed, "the name of a header is not a token"},
	SpaceBeforeColon: {policy.Malformed, "there is a space between the name of a header and its colon"},
	Folding:          {policy.Malformed, "a header is folded over several lines"},
	Control:          {policy.Malformed, "a header has a control character"},
	WhiteSpace:       {policy.Malformed, "the value of a header begins or ends with white space"},
	NUL:              {policy.Malformed, "there is a NUL in the header section"},
	BareCR:           {policy.Malformed, "there is a carriage return that does not end a line"},
	MixedLineEnds:    {policy.Malformed, "some lines end with CR LF and some with LF alone"},
	DuplicateHeader:  {policy.Malformed, "a header that can be there once (Host, Content-Type) is there twice"},
	HostValue:        {policy.Malformed, "the host is not a name or an address with or without a port"},
	HostMismatch:     {policy.Malformed, "the target and the header Host name different hosts"},

	ContentLength:      {policy.Malformed, "Content-Length is not a plain decimal number"},
	DifferingLengths:   {policy.Malformed, "there are several Content-Lengths, which differ"},
	BothLengths:        {policy.Malformed, "there are both Content-Length and Transfer-Encoding"},
	TransferEncoding:   {policy.Malformed, "Transfer-Encoding does not end in chunked, once and written just so"},
	TransferEncoding10: {policy.Malformed, "HTTP/1.0 has no Transfer-Encoding"},
	ConnectBody:        {policy.Malformed, "a CONNECT request has a body"},
	ChunkSize:          {policy.Malformed, "the size of a chunk is not a hexadecimal number that CR LF or an extension follows"},
	ChunkExtension:     {policy.Malformed, "the extension of a chunk has a control character"},
	ChunkEnd:           {policy.Malformed, "a chunk is not followed by CR LF"},
	ForbiddenTrailer:   {policy.Malformed, "a trailer frames or routes the message (Content-Length, Transfer-Encoding, Host)"},
	BodyLength:         {policy.Malformed, "the body is not as long as Content-Length says"},
	Truncated:          {policy.Malformed, "the connection ended within the message"},
	UnexpectedSwitch:   {policy.Malformed, "the server switched protocols, which the client had not offered"},

	Preface:           {policy.Malformed, "HTTP/2 does not begin with its preface"},
	FrameSize:         {policy.Malformed, "a frame has a length that its type or the settings do not allow"},
	FrameStream:       {policy.Malformed, "a frame is on a stream that its type or the order of streams does not allow"},
	FramePadding:      {policy.Malformed, "a frame has more padding than payload"},
	FrameType:         {policy.Malformed, "a frame comes where its type may not: within a header section, or from this end"},
	FrameValue:        {policy.Malformed, "a setting or a window has a value that is not allowed"},
	HeaderCompression: {policy.Malformed, "the header section cannot be decompressed"},
	StreamReused:      {policy.Malformed, "a request comes on a stream that is or was in use"},
	PseudoHeader:      {policy.Malformed, "a pseudo-header is missing, unknown, repeated, out of place or not valid"},
	ConnectionHeader:  {policy.Malformed, "a header of HTTP/1's connections is in HTTP/2"},
	StreamReset:       {policy.NotSeen, "the stream was reset"},
	GoAway:            {policy.NotSeen, "the server closed the connection before it took the request"},

	TooManyHeaderBytes:   {policy.Limit, "the header section is longer than the limit"},
	TooManyHeaders:       {policy.Limit, "there are more headers than the limit"},
	TooManyPending:       {policy.Limit, "more requests wait for their responses than the limit"},
	TooManyStreams:       {policy.Limit, "more streams are open than the limit"},
	TooManyContinuations: {policy.Limit, "the header section is in more frames than the limit"},
	TableSize:            {policy.Limit, "the table of header compression, or a string in it, is larger than the limit"},
	ChunkLine:            {policy.Limit, "the line before a chunk is longer than the limit"},
	BufferLimit:          {policy.Limit, "the message is longer than what is kept for inspection"},

	Missed:        {policy.NotSeen, "bytes were not seen"},
	AnswersMissed: {policy.NotSeen, "the answer was not seen that says which protocol follows"},
	Closed:        {policy.NotSeen, "the connection ended before the response"},
}

// String is a text for people, as a clause.
func (r Reason) String() string { return reasons[r].text }

// Cause is what the facts are unobtainable for; 0 for None.
func (r Reason) Cause() policy.Cause { return reasons[r].cause }
