package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// sshd is an OpenSSH server with keys, a configuration, a /dev/log and an /etc/shadow of
// its own.
type sshd struct {
	host *host
	dir  string
	at   netip.AddrPort
	cmd  *exec.Cmd // the process that listens

	mu   sync.Mutex
	said []string // to syslog
}

const sshdPassword = "let me in"

// sshdRoot is the root folder of another system whose OpenSSH is to be tried (make
// test-openssh); "" is this one.
var sshdRoot = os.Getenv("WEIR_SSHD_ROOT")

// sshServers are settings of the receiver by which OpenSSH's executables are found.
func sshServers() string {
	if sshdRoot == "" {
		return ""
	}
	return fmt.Sprintf("inspect: {ssh: {servers: [%[1]s/usr/sbin/sshd, %[1]s/usr/lib/openssh/sshd-session, %[1]s/usr/lib/openssh/sshd-auth]}}", sshdRoot)
}

// startSSHD starts a server, of which the executable is program, that lets root and
// nobody in by the keys of these names.
func startSSHD(t *testing.T, h *host, at netip.AddrPort, program, settings string, keys ...string) *sshd {
	t.Helper()
	tool(t, "/usr/sbin/sshd")
	openssl, unshare := tool(t, "openssl"), tool(t, "unshare")
	s := &sshd{host: h, dir: t.TempDir(), at: at}
	// Whoever it separates privileges for has to come to the keys.
	for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append([]string{"host"}, keys...) {
		if out, err := exec.Command(tool(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", s.file(name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	var authorized strings.Builder
	for _, name := range keys {
		public, err := os.ReadFile(s.file(name + ".pub"))
		if err != nil {
			t.Fatal(err)
		}
		authorized.Write(public)
	}
	hash, err := exec.Command(openssl, "passwd", "-6", sshdPassword).Output()
	if err != nil {
		t.Fatalf("openssl passwd: %v", err)
	}
	for name, text := range map[string]string{
		"authorized": authorized.String(),
		"shadow":     fmt.Sprintf("root:%s:19000:0:99999:7:::\nnobody:%s:19000:0:99999:7:::\n", strings.TrimSpace(string(hash)), strings.TrimSpace(string(hash))),
		"config": fmt.Sprintf("ListenAddress %v\nHostKey %s\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"+
			"AuthorizedKeysFile %s\nSubsystem sftp internal-sftp\n%sLogLevel VERBOSE\n", at, s.file("host"), s.file("authorized"), settings),
		"ask": "#!/bin/sh\necho " + sshdPassword + "\n",
	} {
		if err := os.WriteFile(s.file(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(s.file("shadow"), 0o600)
	os.Chmod(s.file("ask"), 0o755)
	s.makeDevices(t)
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	script := "mount --make-rprivate / && mount --bind $dir/dev $root/dev && mount --bind $dir/shadow $root/etc/shadow && "
	if sshdRoot == "" {
		script += "exec $program -D -f $dir/config"
	} else {
		script = "mkdir -p $root$tmp $root/run/sshd && mount --make-rprivate / && mount --bind $tmp $root$tmp && mount -t proc proc $root/proc && " +
			script + "exec chroot $root $program -D -f $dir/config"
	}
	script = os.Expand(script, func(name string) string {
		return map[string]string{"dir": s.dir, "root": sshdRoot, "tmp": os.TempDir(), "program": program}[name]
	})
	s.cmd = h.command(t, unshare, "--mount", "sh", "-c", script)
	h.spawn(t, s.cmd)
	h.awaitListening(t, at)
	return s
}

// makeDevices makes a /dev with a log.
func (s *sshd) makeDevices(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(s.file("dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		path := filepath.Join(s.file("dev"), name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, 0o666)
	}
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(s.file("dev"), "log")})
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(s.file("dev"), "log"), 0o666)
	t.Cleanup(func() { log.Close() })
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := log.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.said = append(s.said, string(b[:n]))
			s.mu.Unlock()
		}
	}()
}

func (s *sshd) file(name string) string { return filepath.Join(s.dir, name) }

// log is what was said to syslog.
func (s *sshd) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

// awaitIdle waits until no process is left but the one that listens, of sshd or of what it
// has executed, and what they have said is in the log. All of them are in the server's
// mount namespace, whoever their parent is by now.
func (s *sshd) awaitIdle(t *testing.T) {
	t.Helper()
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the end of sshd's connections", func() bool {
		links, err := filepath.Glob("/proc/[0-9]*/ns/mnt")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, link := range links {
			if of, err := os.Readlink(link); err == nil && of == namespace { // an error: it has ended
				n++
			}
		}
		return n == 1
	})
	log, err := net.Dial("unixgram", filepath.Join(s.file("dev"), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// Messages are read in the order in which they were sent.
	mark := fmt.Sprintf("idle at %d", time.Now().UnixNano())
	if _, err := log.Write([]byte(mark)); err != nil {
		t.Fatal(err)
	}
	await(t, "sshd's messages", func() bool { return strings.Contains(s.log(), mark) })
}

// signer signs with a key.
func (s *sshd) signer(t *testing.T, name string) ssh.Signer {
	t.Helper()
	private, err := os.ReadFile(s.file(name))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// fingerprint is that of a key.
func (s *sshd) fingerprint(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command(tool(t, "ssh-keygen"), "-l", "-f", s.file(name+".pub")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[1]
}

// login logs in from a host by a key, or where it is empty by the password, and lists a
// folder.
func (s *sshd) login(t *testing.T, from *host, user, key string) (string, error) {
	t.Helper()
	var arguments []string
	if key != "" {
		arguments = []string{"-i", s.file(key), "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"}
	} else {
		arguments = []string{"-o", "BatchMode=no", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"}
	}
	arguments = append(arguments,
		"-F", "none", "-v", "-b", "-", "-P", fmt.Sprint(s.at.Port()), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "Ciphers=chacha20-poly1305@openssh.com", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10",
		user+"@["+s.at.Addr().String()+"]")
	cmd := from.command(t, tool(t, "sftp"), arguments...)
	cmd.Stdin = strings.NewReader("ls " + s.dir + "\n")
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+s.file("ask"), "SSH_ASKPASS_REQUIRE=force")
	return from.outputOf(t, cmd)
}
