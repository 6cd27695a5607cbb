package inspector

import (
	"slices"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// LoginState says what is known of the login to an SSH server.
type LoginState uint8

// The states.
const (
	LoginUntold  LoginState = iota // nobody can tell of it
	LoginAwaited                   // nobody has logged in yet
	LoginKey                       // somebody has, by a key
	LoginNoKey                     // by something else
	LoginUnseen                    // somebody has, and it was not told how
)

// Login is what is known of the login to an SSH server.
type Login struct {
	State LoginState
	// Key is valid with LoginKey: the key's fingerprint, as in policy.SSHFacts.
	Key string
}

// Logins tells of the logins to this host's SSH server, which go encrypted.
type Logins interface {
	// Login is what is known of a connection's by now. What a server sends to somebody
	// who has logged in must not come before this says so.
	Login(*Connection) Login
	// Judge says what is to become of the login on a connection that waits for it, by
	// verdicts that Add gave the number of.
	Judge(t packet.Tuple, verdicts uint32)
	// Add makes verdicts known, and returns their number; 0: they cannot be. They are
	// asked for until SetPolicy.
	Add(LoginVerdicts) uint32
	// Forget says that nobody asks for a connection's login any more.
	Forget(packet.Tuple)
}

// LoginVerdicts say which logins are blocked.
type LoginVerdicts struct {
	// WithoutKey is for logins by anything but a key, AnyKey for keys that are not in
	// Keys; these are by fingerprint.
	WithoutKey, AnyKey bool
	Keys               map[string]bool
}

// loginRules are what a policy asks of logins.
type loginRules struct {
	// alike are the keys that its rules name, in groups that every rule treats alike.
	alike [][]string
	// numbers are those of the verdicts that were added, by the bits of the groups and
	// of the two others.
	numbers map[string]uint32
}

func loginRulesOf(p *policy.Policy) loginRules {
	rules := map[string][]byte{} // by key: the numbers of the rules that name it
	var order []string
	for i, r := range p.Walked() {
		if r.Layer7 == nil || r.Layer7.SSH == nil {
			continue
		}
		for _, key := range r.Layer7.SSH.PublicKeys {
			if rules[key] == nil {
				order = append(order, key)
			}
			rules[key] = append(rules[key], byte(i), byte(i>>8), byte(i>>16))
		}
	}
	l := loginRules{numbers: map[string]uint32{}}
	groups := map[string]int{}
	for _, key := range order {
		at, ok := groups[string(rules[key])]
		if !ok {
			at = len(l.alike)
			groups[string(rules[key])] = at
			l.alike = append(l.alike, nil)
		}
		l.alike[at] = append(l.alike[at], key)
	}
	return l
}

// judgeLogin says beforehand what becomes of a login that is waited for, whoever it will
// be, so that whoever serves it can end it before there is a session.
func (i *Inspector) judgeLogin(c *conn) {
	if i.config.Logins == nil || i.version.Policy.Mode != policy.Prevent || !c.awaitsLogin() {
		return
	}
	facts := c.facts
	blocked := func(key policy.Fact[string]) bool {
		facts.SSH.PublicKey = key
		v := i.walk(c, &facts)
		return v.action == policy.Block
	}
	rules := &i.version.logins
	bits := make([]byte, 0, len(rules.alike)+2)
	add := func(b bool) bool {
		bits = append(bits, map[bool]byte{true: 1}[b])
		return b
	}
	v := LoginVerdicts{WithoutKey: add(blocked(policy.Missing[string]())), AnyKey: add(blocked(policy.Is("")))}
	for _, keys := range rules.alike {
		add(blocked(policy.Is(keys[0])))
	}
	number, ok := rules.numbers[string(bits)]
	if !ok {
		v.Keys = map[string]bool{}
		for at, keys := range rules.alike {
			for _, key := range keys {
				v.Keys[key] = bits[2+at] == 1
			}
		}
		number = i.config.Logins.Add(v)
		rules.numbers[string(bits)] = number
	}
	i.config.Logins.Judge(c.Tuple, number)
}

// awaitsLogin says whether a connection goes on until somebody has logged in.
func (c *conn) awaitsLogin() bool {
	r, ok := c.reader.(*sshReader)
	return ok && c.phase == reading && !r.late.IsZero()
}

// askLogins asks for logins that are waited for, and gives up those that have taken too
// long.
func (i *Inspector) askLogins() {
	if i.config.Logins == nil || !slices.Contains(i.version.Policy.Capabilities(), "ssh_keys") {
		return
	}
	for c := i.oldest; c != nil; c = c.newer {
		if !c.awaitsLogin() {
			continue
		}
		r := c.reader.(*sshReader)
		since := r.late
		if r.ask(i, c); c.awaitsLogin() && i.now.Sub(since) > i.config.LateWait {
			i.loseRest(c, policy.Limit)
		}
		i.settle(c)
	}
}
