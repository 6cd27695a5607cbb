package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell is bash on a host, as root has it there: with weir and weirctl installed, a
// terminal, and folders in /etc, /var, /run and /root that are nobody else's.
type shell struct {
	commands *os.File // each ends with a NUL
	terminal *os.File // what is typed
	printed  output
}

// ownFolders goes before the shell, in a mount namespace of its own.
const ownFolders = `
own=$1
for folder in /run /var/log /var/lib /root; do mount -t tmpfs -o mode=755 tmpfs $folder; done
cp -a /etc "$own/etc" && mount --bind "$own/etc" /etc
install -d -m 700 /etc/weir /var/log/weir
cd /root; unset BASH_ENV ENV; export HOME=/root TZ=UTC LC_ALL=C PATH=$2:$PATH
while IFS= read -r -d '' -u 3 command; do eval "$command"; printf '\002'; done
`

// ended is what the shell prints when a command has ended.
const ended = "\x02"

func (h *host) shell(t *testing.T) *shell {
	t.Helper()
	bin := t.TempDir()
	for name, path := range map[string]string{"weir": weirBinary(t), "weirctl": weirctlBinary(t)} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	commands, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer commands.Close()
	cmd := exec.Command("bash", "-c", ownFolders, "bash", t.TempDir(), bin)
	s := &shell{commands: written, terminal: terminal(t, cmd)}
	in := cmd.Stdin.(*os.File)
	modes, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	modes.Lflag &^= unix.ECHO
	modes.Oflag &^= unix.ONLCR
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, modes); err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = in, in, []*os.File{commands}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Setpgid: true, Pdeathsig: unix.SIGKILL}
	h.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(&s.printed, s.terminal) // until nobody has the other end open
	t.Cleanup(func() {
		// What the commands have left running in the background is in its group.
		unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
		time.Sleep(200 * time.Millisecond)
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Wait()
		written.Close()
	})
	return s
}

// run types a command, and the answers to its questions, and returns what stands on
// the terminal then.
func (s *shell) run(t *testing.T, command string, answers []string) string {
	t.Helper()
	begin := len(s.printed.String())
	if _, err := s.commands.WriteString(command + "\x00"); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder // with what is typed, as a terminal's echo has it
	deadline := time.Now().Add(patience)
	for ; time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text := s.printed.String()[begin:]
		begin += len(text)
		screen.WriteString(text)
		if before, is := strings.CutSuffix(screen.String(), ended); is {
			return before
		}
		if len(answers) > 0 && strings.HasSuffix(text, "[y/N] ") {
			if _, err := s.terminal.WriteString(answers[0] + "\n"); err != nil {
				t.Fatal(err)
			}
			screen.WriteString(answers[0] + "\n")
			answers = answers[1:]
		}
	}
	t.Fatalf("it does not end: %s\n%q", command, screen.String())
	return ""
}
