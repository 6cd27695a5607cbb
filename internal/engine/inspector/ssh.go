package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// sshReader reads what an SSH connection says before it is encrypted.
type sshReader struct {
	parser      ssh.Parser
	said, ended time.Time
	problem     string
}

func newSSHReader(*conn) *sshReader { return &sshReader{} }

func (r *sshReader) read(i *Inspector, c *conn, end int, data []byte) int {
	n := r.parser.Read(ssh.End(end), data)
	r.take(i, c)
	return n
}

func (r *sshReader) gap(i *Inspector, c *conn, end int, n uint64) {
	r.parser.Gap(ssh.End(end), n)
	r.take(i, c)
}

func (r *sshReader) limit(_ *Inspector, _ *conn, end int) { r.parser.Limit(ssh.End(end)) }

func (r *sshReader) close(i *Inspector, c *conn, end int) {
	r.parser.Close(ssh.End(end))
	r.take(i, c)
}

func (r *sshReader) skip(end int) uint64 {
	if !r.wants(end) {
		return everything
	}
	return r.parser.Skip(ssh.End(end))
}

func (r *sshReader) wants(end int) bool { return r.parser.Wants(ssh.End(end)) }

// judged: no criterion asks for what the client sends, and what the server does is
// told with its first line.
func (r *sshReader) judged(end int) uint64 {
	if end == client || r.parser.Facts().Software.State != policy.Unknown {
		return everything
	}
	return 0
}

func (r *sshReader) distrust(c *conn, end int) {
	if end == server {
		c.facts.SSH.Software = policy.Lost[string](policy.Malformed)
	}
}

func (r *sshReader) take(i *Inspector, c *conn) {
	messages := r.parser.Messages()
	for k := range messages {
		m := &messages[k]
		switch m.Kind {
		case ssh.KindBanner:
			if m.From == ssh.Client {
				r.said = i.now
			}
		case ssh.KindNewKeys, ssh.KindHostKey:
			r.ended = i.now
		case ssh.KindBroken:
			if r.problem == "" {
				r.problem = "what the server sends is not SSH, or was not seen as a whole"
				if m.From == ssh.Client {
					r.problem = "what the client sends is not SSH, or was not seen as a whole"
				}
			}
		}
	}
	found := len(messages) > 0
	r.parser.Reset()
	h := r.parser.Handshake()
	facts := h.Facts()
	if h.Settled() || !r.wants(client) && !r.wants(server) {
		// The key that the client logs in with goes encrypted.
		facts.PublicKey = policy.Lost[string](policy.NotSeen)
		found = true
	}
	if !found && facts.Software.State == c.facts.SSH.Software.State {
		return
	}
	c.facts.SSH = facts
	c.recause(&c.facts)
	i.judge(c)
	if facts.PublicKey.State != policy.Unknown || !i.config.Report.SSH && !c.judged.waits() {
		i.stop(c)
	}
}

func (r *sshReader) held() int { return r.parser.Held() }

func (r *sshReader) finish(i *Inspector, c *conn) {
	if !i.config.Report.SSH {
		return
	}
	h := r.parser.Handshake()
	e := i.exchange(c, telemetry.SSHHandshake, &c.judged)
	e.Protocol, e.Problem, e.Answered = "ssh", r.problem, r.ended
	if !r.said.IsZero() {
		e.Time = r.said
	}
	e.Version = h.Banner[ssh.Server].Value.Version
	if e.Version == "" {
		e.Version = h.Banner[ssh.Client].Value.Version
	}
	e.SSH = &telemetry.SSHExchange{
		ClientSoftware: h.Banner[ssh.Client].Value.Software, ServerSoftware: h.Banner[ssh.Server].Value.Software,
		HostKey: h.HostKey.Value, HASSH: h.HASSH[ssh.Client].Value,
	}
	i.exchanges = append(i.exchanges, e)
}
