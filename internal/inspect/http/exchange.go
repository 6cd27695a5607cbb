package http

// exchange is a request of HTTP/1 that waits for its response.
type exchange struct {
	number uint64
	method string
	// offers: it asked for another protocol, by Upgrade or CONNECT.
	offers bool
	// settings are what the client announced with an upgrade to HTTP/2.
	settings string
}

// noBody says whether a response to it has no body, whatever its headers say
// (RFC 9112 section 6.3).
func (x *exchange) noBody(status uint16) bool {
	return status < 200 || status == 204 || status == 304 || x.method == "HEAD" || x.isTunnel(status)
}

func (x *exchange) isTunnel(status uint16) bool {
	return x.method == "CONNECT" && status >= 200 && status < 300
}

// queue is first in, first out; it keeps its storage.
type queue struct {
	items []exchange
	head  int
}

func (q *queue) length() int { return len(q.items) - q.head }

func (q *queue) push(x exchange) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// first is valid until the next push.
func (q *queue) first() *exchange { return &q.items[q.head] }

func (q *queue) pop() exchange {
	x := q.items[q.head]
	q.items[q.head] = exchange{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return x
}
