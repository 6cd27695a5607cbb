package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// SSHState says how far the host's sshd is with a connection.
type SSHState uint8

// The states.
const (
	// SSHNotServed: no sshd that is listened to has sent its banner on the connection,
	// or that was forgotten.
	SSHNotServed SSHState = iota
	SSHServed             // it has, and nobody has logged in
	SSHKey                // somebody has, by a key
	SSHNoKey              // by something else
	SSHUnseen             // somebody has, and sshd was not heard to say who
)

// SSHLogin is what the host's sshd has said of a connection.
type SSHLogin struct {
	State SSHState
	// Fingerprint is valid with SSHKey: "SHA256:" and unpadded base64.
	Fingerprint string
	// Ended: the kernel has ended the login, see SetSSHVerdicts.
	Ended bool
}

// SSHVerdicts say which logins are blocked.
type SSHVerdicts struct {
	// WithoutKey is for logins by anything but a key, AnyKey for keys that are not in
	// Keys; these are by fingerprint, as in SSHLogin.
	WithoutKey, AnyKey bool
	Keys               map[string]bool
}

// sshLogins is the program that listens to sshd.
type sshLogins struct {
	maps    bpf.SSHLoginMaps
	program *ebpf.Program
	link    link.Link
	servers map[bpf.SSHLoginSshServer]struct{}
	judges  uint32 // the highest number of verdicts
}

// errNoSSHHook is why sshd cannot be listened to.
var errNoSSHHook = errors.New("this kernel does not let programs see the system calls of sshd, by which it says who logs in " +
	"(CONFIG_FTRACE_SYSCALLS and CONFIG_DEBUG_INFO_BTF are needed)")

// sshHook is the type of the tracepoint that every system call enters by. Tests replace
// it.
var sshHook = "btf_trace_sys_enter"

// SetSSHLogins has the kernel listen to what sshd says of logins, or no more. Nothing is
// known of connections that began before.
func (d *Datapath) SetSSHLogins(on bool) error {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	switch {
	case on == (d.ssh != nil):
		return nil
	case !on:
		defer func() { d.ssh = nil }()
		return d.ssh.close()
	}
	s, err := startSSHLogins()
	if err != nil {
		return err
	}
	d.ssh = s
	return nil
}

func startSSHLogins() (_ *sshLogins, err error) {
	calls, ok := sshCalls[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("listen to sshd: the system calls of %s are not known to Weir; accepted are amd64 and arm64", runtime.GOARCH)
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSSHHook, err)
	}
	var hook *btf.Typedef
	if err := kernel.TypeByName(sshHook, &hook); err != nil {
		return nil, errNoSSHHook
	}
	spec, err := bpf.LoadSSHLogin()
	if err != nil {
		return nil, fmt.Errorf("read the compiled program that listens to sshd: %w", err)
	}
	cookie, err := namespaceCookie()
	if err != nil {
		return nil, fmt.Errorf("find out which network namespace this is: %w", err)
	}
	for name, value := range map[string]any{
		"call_write": uint32(unix.SYS_WRITE), "call_sendto": uint32(unix.SYS_SENDTO),
		"argument_at": calls, "watched_namespace": cookie,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	s := &sshLogins{servers: map[bpf.SSHLoginSshServer]struct{}{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	var objects struct {
		bpf.SSHLoginMaps
		Says *ebpf.Program `ebpf:"ssh_says"`
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return nil, fmt.Errorf("listen to sshd: %w", explainLoad(err))
	}
	s.maps, s.program = objects.SSHLoginMaps, objects.Says
	if s.link, err = link.AttachTracing(link.TracingOptions{Program: s.program}); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSSHHook, err)
	}
	return s, nil
}

// sshCalls are where struct pt_regs has the first three arguments of a system call, in
// bytes (arch/*/include/asm/ptrace.h).
var sshCalls = map[string][3]uint32{
	"amd64": {112, 104, 96}, // di, si, dx
	"arm64": {0, 8, 16},     // regs[0] to regs[2]
}

func (s *sshLogins) close() error {
	var errs []error
	if s.link != nil {
		errs = append(errs, s.link.Close())
	}
	if s.program != nil {
		errs = append(errs, s.program.Close(), s.maps.Close())
	}
	return errors.Join(errs...)
}

// SetSSHServers says which files are sshd, all of them: the listener and, from OpenSSH
// 9.8 on, sshd-session and sshd-auth. Those that are not there are passed over. Processes
// are known by the file that they run, so it is to be called again from time to time:
// an upgrade replaces it. It returns how many there are.
func (d *Datapath) SetSSHServers(files []string) (int, error) {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	if d.ssh == nil {
		return 0, nil
	}
	now := map[bpf.SSHLoginSshServer]struct{}{}
	for _, file := range files {
		id, err := fileOf(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		now[id] = struct{}{}
		if _, ok := d.ssh.servers[id]; ok {
			continue
		}
		if err := d.ssh.maps.SshServers.Put(id, uint8(1)); err != nil {
			return 0, fmt.Errorf("listen to %s: %w", file, err)
		}
	}
	for id := range d.ssh.servers {
		if _, ok := now[id]; !ok {
			if err := ignoreAbsent(d.ssh.maps.SshServers.Delete(id)); err != nil {
				return 0, fmt.Errorf("listen to a file that is sshd no more: %w", err)
			}
		}
	}
	d.ssh.servers = now
	return len(now), nil
}

// SSHLogin is what sshd has said of a connection that was opened to this host, up to
// now: what it sends after a login, it sends after this is known.
func (d *Datapath) SSHLogin(t packet.Tuple) (SSHLogin, error) {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	if d.ssh == nil {
		return SSHLogin{}, nil
	}
	var l bpf.SSHLoginSshLogin
	err := d.ssh.maps.SshLogins.Lookup(sshTuple(t), &l)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return SSHLogin{}, nil
	}
	if err != nil {
		return SSHLogin{}, fmt.Errorf("read what sshd has said: %w", err)
	}
	login := SSHLogin{Ended: l.Ended != 0}
	switch bpf.SSHLoginSshState(l.State) {
	case bpf.SSHLoginSshStateSSH_SERVED:
		login.State = SSHServed
	case bpf.SSHLoginSshStateSSH_KEY:
		login.State, login.Fingerprint = SSHKey, "SHA256:"+string(l.Fingerprint[:])
	case bpf.SSHLoginSshStateSSH_NO_KEY:
		login.State = SSHNoKey
	default:
		login.State = SSHUnseen
	}
	if login.State == SSHKey || login.State == SSHNoKey {
		// The port was compared by the kernel, and that the writer has the socket.
		said, err := netip.ParseAddr(string(l.Address[:min(int(l.AddressLength), len(l.Address))]))
		if err != nil || said.Unmap().WithZone("") != t.Source {
			login = SSHLogin{State: SSHUnseen, Ended: login.Ended}
		}
	}
	return login, nil
}

// ForgetSSHLogin lets go of what sshd has said of a connection.
func (d *Datapath) ForgetSSHLogin(t packet.Tuple) error {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	if d.ssh == nil {
		return nil
	}
	k := sshTuple(t)
	return errors.Join(ignoreAbsent(d.ssh.maps.SshLogins.Delete(k)), ignoreAbsent(d.ssh.maps.SshJudges.Delete(k)))
}

// JudgeSSHLogin says which verdicts are those of a connection, by their number: of a
// login that they block sshd's process is ended before it has a session.
func (d *Datapath) JudgeSSHLogin(t packet.Tuple, verdicts uint32) error {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	if d.ssh == nil {
		return nil
	}
	if err := d.ssh.maps.SshJudges.Put(sshTuple(t), verdicts); err != nil {
		return fmt.Errorf("say what becomes of an SSH login: %w", err)
	}
	return nil
}

// AddSSHVerdicts tells the kernel of verdicts, and returns the number that they have
// there.
func (d *Datapath) AddSSHVerdicts(v SSHVerdicts) (uint32, error) {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	if d.ssh == nil {
		return 0, nil
	}
	d.ssh.judges++
	put := func(fingerprint []byte, blocked bool) error {
		k := bpf.SSHLoginSshVerdict{Judges: d.ssh.judges}
		copy(k.Fingerprint[:], fingerprint)
		var value uint8
		if blocked {
			value = 1
		}
		return d.ssh.maps.SshVerdicts.Put(k, value)
	}
	const prefix = len("SHA256:")
	errs := []error{put(nil, v.WithoutKey), put([]byte{anySSHKey}, v.AnyKey)}
	for key, blocked := range v.Keys {
		errs = append(errs, put([]byte(key)[prefix:], blocked))
	}
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("tell the kernel which SSH logins are blocked: %w", err)
	}
	return d.ssh.judges, nil
}

// ClearSSHVerdicts forgets the verdicts that were added. What waits for a login has none
// until it is judged again.
func (d *Datapath) ClearSSHVerdicts() error {
	d.sshing.Lock()
	defer d.sshing.Unlock()
	if d.ssh == nil {
		return nil
	}
	var keys []bpf.SSHLoginSshVerdict
	var k bpf.SSHLoginSshVerdict
	var blocked uint8
	all := d.ssh.maps.SshVerdicts.Iterate()
	for all.Next(&k, &blocked) {
		keys = append(keys, k)
	}
	errs := []error{all.Err()}
	for _, k := range keys {
		errs = append(errs, ignoreAbsent(d.ssh.maps.SshVerdicts.Delete(k)))
	}
	return errors.Join(errs...)
}

// anySSHKey stands for a fingerprint (SSH_ANY_KEY).
const anySSHKey = 1

// sshTuple is a connection as the socket of its destination has it.
func sshTuple(t packet.Tuple) bpf.SSHLoginSshTuple {
	return bpf.SSHLoginSshTuple{
		Remote: wordsOf(t.Source), RemotePort: t.SourcePort,
		Local: wordsOf(t.Destination), LocalPort: t.DestinationPort,
	}
}

func wordsOf(a netip.Addr) (words [4]uint32) {
	b := a.As16()
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(b[i*4:])
	}
	return words
}
