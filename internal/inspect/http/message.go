package http

import "github.com/weirnet/weir/internal/policy"

// End is one of the two ends of a connection.
type End uint8

// The ends. The client is the connection's initiator.
const (
	Client End = iota
	Server
)

// Other is the opposite end.
func (e End) Other() End { return 1 - e }

// Kind says what a message tells.
type Kind uint8

// The kinds of messages.
const (
	// Request: a request's header section is complete. Facts are to be judged.
	// With a Reason they are lost, or some of them, and the parser goes on.
	Request Kind = iota
	// Response: a response's header section is complete, an interim one (1xx) too.
	Response
	// Ended: the request (End is Client) or the final response is over, with its
	// body and trailers. With a Reason it was cut or did not keep its own length.
	Ended
	// Switched: the connection carries another protocol from InnerStart on; the
	// walk begins anew. With a Stream it is that stream's data that does.
	Switched
	// Broken: nothing that End sends from Start on can be understood, and the
	// parser gives it up. Of the client, Facts are what any request after it is
	// judged by.
	Broken
	// Unanswered: the response to a request will not be told. Reason says why. It has
	// no place.
	Unanswered
)

var kindNames = [...]string{"request", "response", "ended", "switched", "broken", "unanswered"}

// String is the kind's name.
func (k Kind) String() string { return kindNames[k] }

// Inner is the protocol that a connection changed to, as far as it was announced.
type Inner uint8

// The inner protocols.
const (
	// InnerAny follows CONNECT: it may be anything, and is to be detected.
	InnerAny Inner = iota
	InnerWebSocket
	// InnerHTTP2 is read by the same parser: the caller goes on as before.
	InnerHTTP2
	// InnerTLS is RFC 2817.
	InnerTLS
	// InnerOther is named by Upgrade.
	InnerOther
)

// Header is a header as it was sent, but for its name, which is in lower case.
type Header struct{ Name, Value string }

// Message is what the parser found. Which fields are valid depends on Kind.
type Message struct {
	Kind Kind
	// End sent it. A Request of the server is one that it promises to answer by
	// itself (HTTP/2 push).
	End End
	// Reason is None where nothing is wrong.
	Reason Reason

	// Exchange joins a request, its responses and what else is told of them. It
	// counts from 1; 0 is a response whose request was not seen.
	Exchange uint64
	// Stream is 0 in HTTP/1.
	Stream uint32

	// Start is the offset of the message's first byte in its end's stream, HeadEnd
	// that of the first after its header section. For HTTP/2 they are where the
	// frames of the header section begin and end, for Ended where the whole message
	// does.
	Start, HeadEnd uint64
	// Next is where the end's next message begins, valid with NextKnown.
	Next      uint64
	NextKnown bool

	// Facts are valid for Request and, all lost, for Broken.
	Facts policy.HTTPFacts

	// The rest of a request, empty where it is malformed. Method is valid for a
	// Response too: that of its request.
	Method, Scheme string
	// Path is as it was sent, without the query, which HasQuery tells from none.
	Path, Query string
	HasQuery    bool
	// Host is without brackets; Port is 0 where none was given.
	Host      string
	Port      uint16
	UserAgent string
	Trace     Traceparent

	// Version is "1.0", "1.1" or "2", of a Request or a Response.
	Version string
	// Headers are those that Config names, in the order sent, none left out. In a
	// Request or a Response they are valid until the next call of Reset.
	Headers []Header

	// Status is that of a Response.
	Status uint16
	// Body are the body's bytes without chunked framing or padding, valid for Ended.
	Body uint64

	// Inner, InnerStart (for each End) and Upgrade (the protocol's name in the
	// header of that name) are valid for Switched.
	Inner      Inner
	InnerStart [2]uint64
	Upgrade    string
}

// lost are the facts of a request that cannot be understood.
func lost(cause policy.Cause) policy.HTTPFacts {
	return policy.HTTPFacts{
		Host:    policy.Lost[string](cause),
		Path:    policy.Lost[string](cause),
		Method:  policy.Lost[string](cause),
		Headers: policy.Lost[map[string][]string](cause),
		Version: policy.Lost[string](cause),
	}
}
