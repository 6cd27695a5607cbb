package ssh

import (
	"bytes"
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

// line reads a line of an end that has not told its banner, and returns how many
// bytes of it there are; 0 while more are wanted. A server may send other lines
// before (RFC 4253 section 4.2). The line ends with CR LF, and what ends with CR or
// LF alone is taken.
func (p *Parser) line(end End, rest []byte) int {
	const prefix = "SSH-"
	h := &p.ends[end]
	stop := bytes.IndexAny(rest[:min(len(rest), MaxBanner)], "\r\n")
	if stop == MaxBanner-1 && rest[stop] == '\r' {
		stop = -1 // the line feed is one byte too many
	}
	isBanner := h.phase == inLead && bytes.HasPrefix(rest, []byte(prefix))
	mayBe := h.phase == inLead && len(rest) < len(prefix) && string(rest) == prefix[:len(rest)]
	switch {
	case mayBe && !h.full:
		return 0
	case isBanner && stop < 0 && len(rest) < MaxBanner && !h.full:
		return 0
	case isBanner && stop < 0, mayBe:
		p.broken(end, policy.Malformed)
		return 0
	case isBanner:
		n := stop + 1
		if rest[stop] == '\r' {
			h.afterCR = true
		}
		p.banner(end, rest[:stop], uint64(n))
		return n
	case end == Client, h.offset >= MaxLead:
		p.broken(end, policy.Malformed)
		return 0
	case stop < 0:
		h.phase = inLine
		return min(len(rest), MaxBanner)
	}
	h.phase = inLead
	return stop + 1
}

// banner reads SSH-protoversion-softwareversion SP comments.
func (p *Parser) banner(end End, line []byte, length uint64) {
	version, software, ok := strings.Cut(string(line[len("SSH-"):]), "-")
	software, comments, _ := strings.Cut(software, " ")
	if !ok || software == "" || strings.IndexFunc(software, isNotVisible) >= 0 ||
		version == "" || strings.Trim(version, "0123456789.") != "" {
		p.broken(end, policy.Malformed)
		return
	}
	h := &p.ends[end]
	h.phase = inPackets
	// Comments are for reading: what is not ASCII must not get into records.
	comments = strings.Map(func(r rune) rune {
		if r != ' ' && isNotVisible(r) {
			return '?'
		}
		return r
	}, comments)
	p.handshake.Banner[end] = policy.Is(Banner{Version: version, Software: software, Comments: comments})
	p.tell(end, KindBanner, h.offset+length)
	if version != "2.0" && version != "1.99" {
		// SSH 1 follows, whose packets are others.
		for end := range End(2) {
			settle(&p.handshake.HASSH[end], policy.Missing[string]())
			if p.ends[end].phase == inPackets {
				p.ends[end].phase = isDone
			}
		}
		settle(&p.handshake.Algorithms, policy.Missing[Algorithms]())
		settle(&p.handshake.HostKey, policy.Missing[string]())
	} else if p.isOld(1 - end) {
		h.phase = isDone
	}
}

// isOld says whether an end has told that it speaks SSH 1 only.
func (p *Parser) isOld(end End) bool {
	b := &p.handshake.Banner[end]
	return b.State == policy.Known && b.Value.Version != "2.0" && b.Value.Version != "1.99"
}

func isNotVisible(r rune) bool { return r <= ' ' || r >= 0x7f }

func hasPrefix(s, prefix string) bool { return strings.HasPrefix(s, prefix) }
