package datapath

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

const (
	goodKey = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	badKey  = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"
)

// The test binary is sshd where the environment says so: it has the connection as
// descriptor 3, syslog as 4 and does what it is told on its standard input, a line each.
const fakeSSHD = "WEIR_TEST_SSHD"

func init() {
	if os.Getenv(fakeSSHD) == "" {
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, text, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "banner":
			unix.Write(3, []byte("SSH-2.0-Test\r\n"))
		case "send":
			unix.Write(3, []byte("encrypted"))
		case "say":
			unix.Send(4, []byte("<38>Nov 29 14:47:51 sshd[1220]: "+text), 0)
		case "print":
			unix.Write(2, []byte(text+"\r\n"))
		}
		fmt.Println("done")
	}
	os.Exit(0)
}

// sshProcess is one of the processes of a fake sshd.
type sshProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (p *sshProcess) do(command string) {
	fmt.Fprintln(p.in, command)
	p.out.Scan() // or it was ended
}

// died says whether it was killed.
func (p *sshProcess) died() bool {
	p.in.Close()
	var exit *exec.ExitError
	return errors.As(p.cmd.Wait(), &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL
}

// sshTest is a connection with a server whose processes are made by start.
type sshTest struct {
	tuple packet.Tuple
	files []*os.File
	data  *Datapath
}

// listenToTests has the test binary listened to, until the end of a test.
func listenToTests(t *testing.T) *Datapath {
	t.Helper()
	nstest.Need(t)
	d := &Datapath{}
	t.Cleanup(func() {
		if err := d.SetSSHLogins(false); err != nil {
			t.Error(err)
		}
	})
	err := d.SetSSHLogins(true)
	if errors.Is(err, errNoSSHHook) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.SetSSHServers([]string{"/proc/self/exe", "/no/such/sshd"}); err != nil || n != 1 {
		t.Fatalf("%d files are sshd, want 1: %v", n, err)
	}
	return d
}

func newSSHTest(t *testing.T, d *Datapath, network string) *sshTest {
	t.Helper()
	listener, err := net.Listen("tcp", network)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	file, err := server.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	log, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &sshTest{data: d, files: []*os.File{file, os.NewFile(uintptr(log[0]), "log")}}
	t.Cleanup(func() {
		unix.Close(log[1])
		for _, f := range s.files {
			f.Close()
		}
	})
	from, to := client.LocalAddr().(*net.TCPAddr).AddrPort(), client.RemoteAddr().(*net.TCPAddr).AddrPort()
	s.tuple = packet.Tuple{
		Source: from.Addr().Unmap(), SourcePort: from.Port(), Destination: to.Addr().Unmap(), DestinationPort: to.Port(), Protocol: packet.TCP,
	}
	return s
}

// start starts a process of the server.
func (s *sshTest) start(t *testing.T, program string, as *syscall.SysProcAttr) *sshProcess {
	t.Helper()
	p := &sshProcess{cmd: exec.Command(program)}
	p.cmd.Env, p.cmd.ExtraFiles, p.cmd.SysProcAttr = append(os.Environ(), fakeSSHD+"=1"), s.files, as
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.in.Close(); p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

func (s *sshTest) login(t *testing.T) SSHLogin {
	t.Helper()
	l, err := s.data.SSHLogin(s.tuple)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// accepted is sshd's message of a login by a key.
func (s *sshTest) accepted(key string) string {
	return fmt.Sprintf("Accepted publickey for root from %v port %d ssh2: ED25519 %s", s.tuple.Source, s.tuple.SourcePort, key)
}

// TestSSHLogin: what sshd says is believed of the connection that it serves, and nothing
// that anybody else says.
func TestSSHLogin(t *testing.T) {
	d := listenToTests(t)
	root := &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	container := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	served, none, unseen := SSHLogin{State: SSHServed}, SSHLogin{}, SSHLogin{State: SSHUnseen}
	good := SSHLogin{State: SSHKey, Fingerprint: goodKey}
	for name, c := range map[string]struct {
		// The processes of the server by number, in the order of what they do.
		as    []*syscall.SysProcAttr
		steps func(s *sshTest) []string // "0 say …"
		want  SSHLogin
	}{
		"nothing yet": {want: none},
		"a banner":    {steps: func(*sshTest) []string { return []string{"0 banner"} }, want: served},
		"a key": {steps: func(s *sshTest) []string {
			return []string{"0 banner", "1 send", "0 say " + s.accepted(goodKey), "0 send"}
		}, want: good},
		"to standard error": {
			steps: func(s *sshTest) []string { return []string{"0 banner", "0 print " + s.accepted(goodKey)} }, want: good,
		},
		"the first counts": {
			steps: func(s *sshTest) []string {
				return []string{"0 banner", "0 say " + s.accepted(goodKey), "0 say " + s.accepted(badKey)}
			}, want: good,
		},
		"a password": {
			steps: func(s *sshTest) []string {
				return []string{"0 banner", fmt.Sprintf("0 say Accepted password for root from %v port %d ssh2", s.tuple.Source, s.tuple.SourcePort)}
			}, want: SSHLogin{State: SSHNoKey},
		},
		"the child's words": {
			steps: func(s *sshTest) []string { return []string{"0 banner", "0 say " + s.accepted(goodKey) + " [preauth]"} }, want: served,
		},
		"the child's words, cut off": {
			steps: func(s *sshTest) []string {
				m := "Accepted password for root" + strings.TrimPrefix(s.accepted(goodKey), "Accepted publickey for root")
				return []string{"0 banner", "0 say " + m + ", " + strings.Repeat("x", 1023-len(m)-2)}
			}, want: served,
		},
		"another port": {
			steps: func(s *sshTest) []string {
				return []string{"0 banner", fmt.Sprintf("0 say Accepted publickey for root from %v port 1 ssh2: ED25519 %s", s.tuple.Source, goodKey)}
			}, want: served,
		},
		"another address": {
			steps: func(s *sshTest) []string {
				return []string{"0 banner", fmt.Sprintf("0 say Accepted publickey for root from 192.0.2.9 port %d ssh2: ED25519 %s", s.tuple.SourcePort, goodKey)}
			}, want: unseen,
		},
		"a process that is the monitor no more": {
			steps: func(s *sshTest) []string { return []string{"0 banner", "1 banner", "0 say " + s.accepted(goodKey)} }, want: served,
		},
		"nothing is said, and there is no child": {
			steps: func(*sshTest) []string { return []string{"0 banner", "0 send"} }, want: unseen,
		},
		"another process": {
			steps: func(s *sshTest) []string { return []string{"0 banner", "1 say " + s.accepted(goodKey)} }, want: served,
		},
		"nothing is said, and the monitor has a session": {
			steps: func(*sshTest) []string { return []string{"0 banner", "1 send", "0 send"} }, want: unseen,
		},
		"nothing is said, and another has a session": {
			steps: func(*sshTest) []string { return []string{"0 banner", "1 send", "1 send", "2 send"} }, want: unseen,
		},
		"too late": {
			steps: func(s *sshTest) []string {
				return []string{"0 banner", "1 send", "0 send", "0 say " + s.accepted(goodKey)}
			}, want: unseen,
		},
		"a user who runs sshd": {
			as: []*syscall.SysProcAttr{nobody}, steps: func(s *sshTest) []string { return []string{"0 banner", "0 say " + s.accepted(goodKey)} }, want: none,
		},
		"a user, of a connection that sshd serves": {
			as: []*syscall.SysProcAttr{root, nobody}, steps: func(s *sshTest) []string { return []string{"0 banner", "1 banner", "1 say " + s.accepted(goodKey)} }, want: served,
		},
		"root of a container": {
			as: []*syscall.SysProcAttr{container}, steps: func(s *sshTest) []string { return []string{"0 banner", "0 say " + s.accepted(goodKey)} }, want: none,
		},
		"root of a container, of a connection that sshd serves": {
			as: []*syscall.SysProcAttr{root, container}, steps: func(s *sshTest) []string { return []string{"0 banner", "1 banner", "1 say " + s.accepted(goodKey)} }, want: served,
		},
	} {
		for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(name+" "+network, func(t *testing.T) {
				s := newSSHTest(t, d, network)
				var steps []string
				if c.steps != nil {
					steps = c.steps(s)
				}
				processes := map[string]*sshProcess{}
				for _, step := range steps {
					who, command, _ := strings.Cut(step, " ")
					if processes[who] == nil {
						as, n := root, int(who[0]-'0')
						if n < len(c.as) {
							as = c.as[n]
						}
						processes[who] = s.start(t, "/proc/self/exe", as)
					}
					processes[who].do(command)
				}
				if got := s.login(t); got != c.want {
					t.Errorf("it is known %+v, want %+v", got, c.want)
				}
			})
		}
	}
	t.Run("another executable", func(t *testing.T) {
		s := newSSHTest(t, d, "127.0.0.1:0")
		binary, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(t.TempDir(), "sshd")
		if err := os.WriteFile(other, binary, 0o700); err != nil {
			t.Fatal(err)
		}
		sshd, p := s.start(t, "/proc/self/exe", root), s.start(t, other, root)
		p.do("banner")
		p.do("say " + s.accepted(goodKey))
		if got := s.login(t); got != none {
			t.Errorf("it is known %+v, want nothing", got)
		}
		sshd.do("banner")
		p.do("say " + s.accepted(goodKey))
		if got := s.login(t); got != served {
			t.Errorf("it is known %+v, want that nobody has logged in", got)
		}
	})
	t.Run("an upgrade", func(t *testing.T) {
		s := newSSHTest(t, d, "127.0.0.1:0")
		if n, err := s.data.SetSSHServers([]string{"/bin/sh", "/no/such/sshd"}); err != nil || n > 1 {
			t.Fatal(n, err)
		}
		s.start(t, "/proc/self/exe", root).do("banner")
		if got := s.login(t); got != none {
			t.Errorf("it is known %+v of a file that is sshd no more", got)
		}
	})
}

// TestSSHVerdicts: of a login that is blocked sshd's process ends within its system call.
func TestSSHVerdicts(t *testing.T) {
	d := listenToTests(t)
	password := func(s *sshTest) string {
		return fmt.Sprintf("Accepted password for root from %v port %d ssh2", s.tuple.Source, s.tuple.SourcePort)
	}
	by := func(key string) func(*sshTest) string { return func(s *sshTest) string { return s.accepted(key) } }
	for name, c := range map[string]struct {
		verdicts SSHVerdicts
		says     func(*sshTest) string
		ends     bool
	}{
		"a key that is blocked":   {SSHVerdicts{Keys: map[string]bool{badKey: true}}, by(badKey), true},
		"a key that is not":       {SSHVerdicts{Keys: map[string]bool{badKey: true}}, by(goodKey), false},
		"a password that is not":  {SSHVerdicts{AnyKey: true}, password, false},
		"a password that is":      {SSHVerdicts{WithoutKey: true}, password, true},
		"the only key":            {SSHVerdicts{WithoutKey: true, AnyKey: true, Keys: map[string]bool{goodKey: false}}, by(goodKey), false},
		"a key beside the only":   {SSHVerdicts{WithoutKey: true, AnyKey: true, Keys: map[string]bool{goodKey: false}}, by(badKey), true},
		"another's words of both": {SSHVerdicts{AnyKey: true}, func(s *sshTest) string { return s.accepted(badKey) + " [preauth]" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSSHTest(t, d, "127.0.0.1:0")
			number, err := s.data.AddSSHVerdicts(c.verdicts)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.data.JudgeSSHLogin(s.tuple, number); err != nil {
				t.Fatal(err)
			}
			p := s.start(t, "/proc/self/exe", &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL})
			p.do("banner")
			p.do("say " + c.says(s))
			if died := p.died(); died != c.ends || s.login(t).Ended != c.ends {
				t.Errorf("it was ended: %t, and is told as ended: %t; want %t", died, s.login(t).Ended, c.ends)
			}
		})
	}
	t.Run("none any more", func(t *testing.T) {
		s := newSSHTest(t, d, "127.0.0.1:0")
		number, err := s.data.AddSSHVerdicts(SSHVerdicts{WithoutKey: true, AnyKey: true})
		if err := errors.Join(err, s.data.JudgeSSHLogin(s.tuple, number), s.data.ClearSSHVerdicts()); err != nil {
			t.Fatal(err)
		}
		p := s.start(t, "/proc/self/exe", &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL})
		p.do("banner")
		p.do("say " + s.accepted(badKey))
		if p.died() {
			t.Error("it was ended for a verdict that is not in force")
		}
		if err := s.data.ForgetSSHLogin(s.tuple); err != nil {
			t.Fatal(err)
		}
		if got := s.login(t); got != (SSHLogin{}) {
			t.Errorf("%+v is still known of it", got)
		}
	})
}

// TestSSHOtherNamespace: an sshd of another network namespace is none of ours.
func TestSSHOtherNamespace(t *testing.T) {
	d := listenToTests(t)
	s := newSSHTest(t, d, "127.0.0.1:0")
	s.data.ssh.close()
	s.data.ssh = nil
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = s.data.SetSSHLogins(true)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := s.data.SetSSHServers([]string{"/proc/self/exe"}); err != nil {
		t.Fatal(err)
	}
	s.start(t, "/proc/self/exe", &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}).do("banner")
	if got := s.login(t); got != (SSHLogin{}) {
		t.Errorf("it is known %+v", got)
	}
}

func TestSSHHookMissing(t *testing.T) {
	nstest.Need(t)
	defer func(hook string) { sshHook = hook }(sshHook)
	sshHook = "btf_trace_missing"
	d := &Datapath{}
	if err := d.SetSSHLogins(true); !errors.Is(err, errNoSSHHook) || !strings.Contains(err.Error(), "CONFIG_FTRACE_SYSCALLS") {
		t.Errorf("error %v, want what the kernel lacks", err)
	}
	if l, err := d.SSHLogin(packet.Tuple{Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("192.0.2.2")}); err != nil || l != (SSHLogin{}) {
		t.Errorf("without it: %+v, %v", l, err)
	}
}

func TestSSHTuple(t *testing.T) {
	k := sshTuple(packet.Tuple{Source: netip.MustParseAddr("192.0.2.1"), SourcePort: 4242, Destination: netip.MustParseAddr("2001:db8::1"), DestinationPort: 22})
	if addressOf(k.Remote) != netip.MustParseAddr("192.0.2.1") || addressOf(k.Local) != netip.MustParseAddr("2001:db8::1") || k.RemotePort != 4242 || k.LocalPort != 22 {
		t.Errorf("%+v", k)
	}
}

// BenchmarkSyscall is what other processes' system calls cost with the program there.
func BenchmarkSyscall(b *testing.B) {
	nstest.Need(b)
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(null)
	text := []byte("x")
	calls := map[string]func(){"getppid": func() { unix.Getppid() }, "write": func() { unix.Write(null, text) }}
	for _, listened := range []bool{false, true} {
		for name, call := range calls {
			b.Run(fmt.Sprintf("%s, listened %t", name, listened), func(b *testing.B) {
				d := &Datapath{}
				if err := d.SetSSHLogins(listened); err != nil {
					b.Skip(err)
				}
				defer d.SetSSHLogins(false)
				time.Sleep(10 * time.Millisecond)
				for b.Loop() {
					call()
				}
			})
		}
	}
}
