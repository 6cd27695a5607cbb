package inspector

import (
	"bytes"
	"strings"

	"github.com/weirnet/weir/internal/inspect/tls"
)

// textReader reads on what is no protocol that Weir knows, as long as the client
// sends lines of text: those of SMTP (RFC 3207), IMAP and POP3 (RFC 2595), FTP
// (RFC 4217) and XMPP ask for TLS by a command, and send a ClientHello next.
//
// Whether the server agrees is not read: a client that was refused goes on with
// text, and what begins as TLS does behind the command is TLS.
type textReader struct {
	asked  bool
	inLine bool // the client's line at hand goes on
	at     [2]uint64
}

// longestCommand is the length of a command that is looked at.
const longestCommand = 512

func newTextReader(*conn) *textReader { return &textReader{} }

func (r *textReader) read(i *Inspector, c *conn, end int, data []byte) (consumed int) {
	if end == server {
		consumed = len(data)
	} else {
		consumed = r.lines(i, c, data)
	}
	if c.phase == reading && r.at[end]+uint64(consumed) > uint64(i.config.MaxBytes) {
		i.stop(c)
	}
	if c.phase == reading {
		r.at[end] += uint64(consumed)
	}
	return consumed
}

// lines reads what the client sends.
func (r *textReader) lines(i *Inspector, c *conn, data []byte) (consumed int) {
	for consumed < len(data) {
		rest := data[consumed:]
		if r.asked && !r.inLine {
			switch tls.Detect(rest) {
			case tls.More:
				return consumed
			case tls.Yes:
				i.drain(c, server) // what it has said so far was said in the clear
				if c.phase != reading {
					return len(data)
				}
				i.restart(c, [2]uint64{r.at[client] + uint64(consumed), r.at[server]})
				return consumed
			}
		}
		line, _, ended := bytes.Cut(rest, []byte{'\n'})
		if tag := bytes.IndexByte(line, '>'); tag >= 0 && line[0] == '<' {
			line, ended = line[:tag], true // of XMPP (RFC 6120)
		}
		switch {
		case !isText(line):
			i.stop(c)
			return len(data)
		case ended:
			r.asked = r.asked || !r.inLine && asksForTLS(line)
			r.inLine = false
			consumed += len(line) + 1
		case r.inLine || len(line) > longestCommand:
			r.inLine = true
			return len(data)
		default:
			return consumed
		}
	}
	return consumed
}

// asksForTLS says whether a line is the command; IMAP's has a tag before it.
func asksForTLS(line []byte) bool {
	if bytes.HasPrefix(line, []byte("<starttls")) {
		return true
	}
	words := strings.Fields(strings.ToUpper(string(line[:min(len(line), longestCommand)])))
	switch len(words) {
	case 1:
		return words[0] == "STARTTLS" || words[0] == "STLS"
	case 2:
		return words[1] == "STARTTLS" || words[0] == "AUTH" && (words[1] == "TLS" || words[1] == "SSL")
	}
	return false
}

func isText(line []byte) bool {
	for _, b := range line {
		if b < ' ' && b != '\t' && b != '\r' || b == 0x7f {
			return false
		}
	}
	return true
}

func (r *textReader) gap(i *Inspector, c *conn, end int, n uint64) {
	if end == client || n == 0 {
		i.miss(c)
		return
	}
	r.at[end] += n
}

func (r *textReader) limit(i *Inspector, c *conn, _ int) { i.stop(c) }

func (r *textReader) close(i *Inspector, c *conn, end int) {
	if end == client {
		i.stop(c)
	}
}

func (r *textReader) skip(int) uint64 { return 0 }
func (r *textReader) wants(int) bool  { return true }

// judged: what is no TLS passes, as it comes.
func (r *textReader) judged(end int) uint64 {
	if end == client && r.asked && !r.inLine {
		return r.at[client]
	}
	return everything
}

func (r *textReader) distrust(*conn, int)      {}
func (r *textReader) held() int                { return 0 }
func (r *textReader) finish(*Inspector, *conn) {}
