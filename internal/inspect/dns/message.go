package dns

import "encoding/binary"

// Question is one of a message's questions; of an update (RFC 2136) it is the
// zone, of a notification (RFC 1996) what has changed.
type Question struct {
	Name Name
	Type uint16
	// Class is without the flag of mDNS.
	Class uint16
	// WantsUnicast is valid for MDNS: the answer may come to the asker alone.
	WantsUnicast bool
}

// Message is what was found in one message. Use one again and again: Parse sets
// all of it. Names and records lie in the bytes that it was given.
type Message struct {
	// Place says where it came from; of a datagram only From can be set, by the
	// caller.
	Place
	Protocol Protocol
	ID       uint16
	Opcode   uint8
	// RCode is the response code, with the upper bits of EDNS (RFC 6891 section
	// 6.1.3) where there are any.
	RCode uint16
	// Counts are those of the header: questions, answers, authorities, additional
	// records.
	Counts [4]int
	// Questions are those that could be read, at most MaxQuestions.
	Questions []Question
	// Answers are the records of the answer section that could be read, at most
	// MaxAnswers.
	Answers []Record
	// Omitted is the number of questions and answers that were not kept.
	Omitted int
	// Trailing is the number of bytes after the last record.
	Trailing int
	EDNS     EDNS
	// Problem is the first thing that is wrong, ProblemAt the offset of the name
	// or record with it.
	Problem   Problem
	ProblemAt int

	flags   uint16
	hasHead bool
	asked   int // questions read
}

// Place says where in a connection a message lies, in bytes of its end's stream.
type Place struct {
	From End
	// Begin is the offset of the length, End that after the last byte, where the
	// next message begins. A message that was not seen as a whole may have no End:
	// it is 0.
	Begin, End uint64
}

// IsAnswer says whether the message is a response (QR).
func (m *Message) IsAnswer() bool { return m.flags&flagQR != 0 }

// Flags is the header's second word.
func (m *Message) Flags() uint16 { return m.flags }

// Authoritative, Truncated, RecursionDesired, RecursionAvailable, Authentic and
// CheckingDisabled are the flags AA, TC, RD, RA, AD and CD.
func (m *Message) Authoritative() bool { return m.flags&flagAA != 0 }

// Truncated is the flag TC: the answer did not fit.
func (m *Message) Truncated() bool { return m.flags&flagTC != 0 }

// RecursionDesired is the flag RD.
func (m *Message) RecursionDesired() bool { return m.flags&flagRD != 0 }

// RecursionAvailable is the flag RA.
func (m *Message) RecursionAvailable() bool { return m.flags&flagRA != 0 }

// Authentic is the flag AD (RFC 4035).
func (m *Message) Authentic() bool { return m.flags&flagAD != 0 }

// CheckingDisabled is the flag CD (RFC 4035).
func (m *Message) CheckingDisabled() bool { return m.flags&flagCD != 0 }

// Parse reads a message. Its length on the wire may be more than len(data): then
// what lies behind data is Cut, not malformed. Less stands for len(data).
func (m *Message) Parse(data []byte, length int, protocol Protocol) Problem {
	*m = Message{Protocol: protocol, Questions: m.Questions[:0], Answers: m.Answers[:0]}
	if len(data) < headerBytes {
		return m.fail(Short, 0, len(data) < length)
	}
	m.hasHead = true
	m.ID = binary.BigEndian.Uint16(data)
	m.flags = binary.BigEndian.Uint16(data[2:])
	m.Opcode = uint8(m.flags >> 11 & 0xf)
	m.RCode = m.flags & 0xf
	for i := range m.Counts {
		m.Counts[i] = int(binary.BigEndian.Uint16(data[4+2*i:]))
	}
	cut := len(data) < length
	at := headerBytes
	for range m.Counts[0] {
		var q Question
		from := at
		var problem Problem
		if at, problem = m.question(data, at, &q); problem != None {
			return m.fail(problem, from, cut)
		}
		m.asked++
		if len(m.Questions) < MaxQuestions {
			m.Questions = append(m.Questions, q)
		} else {
			m.Omitted++
		}
	}
	for section := 1; section < len(m.Counts); section++ {
		for i := range m.Counts[section] {
			var r Record
			from := at
			var problem Problem
			// Names are followed only where they are kept, so that the work stays in
			// proportion to the bytes.
			keep := section == 1 && len(m.Answers) < MaxAnswers
			at, problem = r.read(data, at, keep)
			if problem == None && r.Type == typeOPT {
				problem = m.option(&r, section)
			}
			if problem != None {
				if section == 1 {
					m.Omitted += m.Counts[1] - i
				}
				if problem == Short && m.Truncated() {
					return None // cut in the middle, which TC says
				}
				return m.fail(problem, from, cut)
			}
			if protocol == MDNS && r.Type != typeOPT {
				r.Replaces = r.Class&classFlag != 0
				r.Class &^= classFlag
			}
			if keep {
				m.Answers = append(m.Answers, r)
			} else if section == 1 {
				m.Omitted++
			}
		}
	}
	m.Trailing = max(length, len(data)) - at
	return None
}

func (m *Message) fail(problem Problem, at int, cut bool) Problem {
	if problem == Short && cut {
		problem = Cut
	}
	m.Problem, m.ProblemAt = problem, at
	return problem
}

func (m *Message) question(data []byte, at int, q *Question) (int, Problem) {
	q.Name = Name{data, at}
	at, problem := readName(data, at)
	if problem != None {
		return at, problem
	}
	if at+4 > len(data) {
		return at, Short
	}
	q.Type = binary.BigEndian.Uint16(data[at:])
	q.Class = binary.BigEndian.Uint16(data[at+2:])
	if m.Protocol == MDNS {
		q.WantsUnicast = q.Class&classFlag != 0
		q.Class &^= classFlag
	}
	return at + 4, None
}
