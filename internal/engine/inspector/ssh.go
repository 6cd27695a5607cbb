package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// sshReader reads what an SSH connection says before it is encrypted. For the key that
// the client logs in with, it asks whoever knows.
type sshReader struct {
	parser      ssh.Parser
	said, ended time.Time
	problem     string
	key         policy.Fact[string]
	late        time.Time // since when a login is waited for; zero: none is
	asked       bool      // for the login
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
	if !r.late.IsZero() {
		return 0
	}
	if !r.wants(end) {
		return everything
	}
	return r.parser.Skip(ssh.End(end))
}

func (r *sshReader) wants(end int) bool { return !r.late.IsZero() || r.parser.Wants(ssh.End(end)) }

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
	if r.key.State == policy.Unknown {
		r.late, r.key = time.Time{}, policy.Lost[string](policy.Malformed)
		c.facts.SSH.PublicKey = r.key
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
	if !found && (!r.isOver() || !r.late.IsZero()) && h.Facts().Software.State == c.facts.SSH.Software.State {
		return
	}
	r.judge(i, c)
	if h.Facts().Software.State != policy.Unknown && r.late.IsZero() && c.judged.wantsLogin() {
		r.ask(i, c)
	}
	if c.phase == reading && r.key.State == policy.Unknown && r.late.IsZero() && r.isOver() {
		// It goes encrypted.
		r.key = policy.Lost[string](policy.NotSeen)
		r.judge(i, c)
	}
}

// isOver: nothing more can be read.
func (r *sshReader) isOver() bool {
	return r.parser.Handshake().Settled() || !r.parser.Wants(ssh.Client) && !r.parser.Wants(ssh.Server)
}

// ask finds out whether somebody has logged in.
func (r *sshReader) ask(i *Inspector, c *conn) {
	login := Login{}
	if i.config.Logins != nil && c.facts.Direction == policy.Inbound {
		r.asked = true
		login = i.config.Logins.Login(&c.Connection)
	}
	since := r.late
	r.late = time.Time{}
	switch login.State {
	case LoginAwaited:
		if r.late = since; !since.IsZero() {
			return
		}
		r.late = i.now
	case LoginKey:
		r.key = policy.Is(login.Key)
	case LoginNoKey:
		r.key = policy.Missing[string]()
	default:
		r.key = policy.Lost[string](policy.NotSeen)
	}
	r.judge(i, c)
}

func (r *sshReader) judge(i *Inspector, c *conn) {
	c.facts.SSH = r.parser.Facts()
	c.facts.SSH.PublicKey = r.key
	c.recause(&c.facts)
	i.judge(c)
	if r.key.State != policy.Unknown || !i.config.Report.SSH && !c.judged.waits() {
		i.stop(c)
	}
}

func (r *sshReader) held() int { return r.parser.Held() }

func (r *sshReader) finish(i *Inspector, c *conn) {
	if r.asked {
		i.config.Logins.Forget(c.Tuple)
	}
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
		ClientKey: r.key.Value, HostKey: h.HostKey.Value, HASSH: h.HASSH[ssh.Client].Value,
	}
	i.exchanges = append(i.exchanges, e)
}
