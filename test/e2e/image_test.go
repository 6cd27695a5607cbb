package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inImage runs a program in a folder as a container engine does: it is the root, which
// is read-only, with the engine's file systems and the volumes of docs/install.md.
// setpriv, which the image does not have, comes from the host.
const inImage = `
root=$1 state=$2 etc=$3 set=$4; shift 4
mkdir -p "$root"/{proc,dev,sys,etc/weir,var/lib/weir,host}
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys" && mount -o remount,ro,bind "$root/proc/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev" && mkdir "$root/dev/net"
for device in null net/tun; do touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"; done
mount --bind /sys "$root/sys" && mount -o remount,ro,bind "$root/sys"
mount --bind /sys/fs/bpf "$root/sys/fs/bpf"
mount --bind "$etc" "$root/etc/weir" && mount -o remount,ro,bind "$root/etc/weir"
mount --bind "$state" "$root/var/lib/weir"
mount --bind / "$root/host" && mount -o remount,ro,bind "$root/host"
mount -o remount,ro,bind "$root"
loader=$(readlink -f /lib64/ld-linux-x86-64.so.2 || readlink -f /lib/ld-linux-aarch64.so.1)
exec chroot "$root" "/host$loader" --library-path "$(printf '/host%s:' /lib/*-linux-gnu /usr/lib/*-linux-gnu)" \
  "/host$(command -v setpriv)" --no-new-privs --bounding-set "$set" --inh-caps -all "$@"
`

var (
	copied     = regexp.MustCompile(`(?m)^COPY --from=build (.+) (\S+)$`)
	entrypoint = regexp.MustCompile(`(?m)^(?:ENTRYPOINT|CMD) \[(.+)\]$`)
	capability = regexp.MustCompile(`--cap-add (\w+)`)
)

// TestImage runs what packaging/container/Dockerfile puts into the image, with the
// rights that docs/install.md gives the container and no others, and has it hold
// packets. (It does not run an engine.)
func TestImage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"setpriv", "unshare", "chroot"} {
		tool(t, name)
	}
	read := func(name string) string {
		text, err := os.ReadFile(inRoot(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dockerfile, page := read("packaging/container/Dockerfile"), read("docs/install.md")
	image := t.TempDir()
	build := map[string]string{"/src/bin/weir": weirBinary(t), "/src/bin/weirctl": weirctlBinary(t), "/src/LICENSE": inRoot(t, "LICENSE")}
	for _, m := range copied.FindAllStringSubmatch(dockerfile, -1) {
		for from := range strings.FieldsSeq(m[1]) {
			to := m[2]
			if strings.HasSuffix(to, "/") {
				to = path.Join(to, path.Base(from))
			}
			source := from // of the image that it is built in
			if build[from] != "" {
				source = build[from]
			}
			if out, err := exec.Command("install", "-D", "-m", "755", source, filepath.Join(image, to)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	var command []string
	for _, m := range entrypoint.FindAllStringSubmatch(dockerfile, -1) {
		for word := range strings.SplitSeq(m[1], ", ") {
			command = append(command, strings.Trim(word, `"`))
		}
	}
	set := "-all"
	for _, m := range capability.FindAllStringSubmatch(page, -1) {
		set += ",+" + strings.ToLower(m[1])
	}
	if len(command) != 3 || strings.Count(set, "+") != 4 {
		t.Fatalf("the command is %q, the capabilities are %s", command, set)
	}

	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	pages := l.servePages(t, l.b, at)
	etc, state := t.TempDir(), t.TempDir()
	for folder, mode := range map[string]os.FileMode{etc: 0o755, state: 0o700} {
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
	}
	configuration := fmt.Sprintf(`
receivers: {ebpf_connection: {policy: connection_policy, interfaces: {include: [%s]}, on_shutdown: unload}}
extensions: {connection_policy: {file: /etc/weir/policy.yaml}}
exporters: {file: {path: /dev/null}}
service:
  extensions: [connection_policy]
  pipelines: {logs: {receivers: [ebpf_connection], exporters: [file]}}
  telemetry: {metrics: {level: none}}
`, nearName)
	for name, content := range map[string]string{"config.yaml": configuration, "policy.yaml": fmt.Sprintf(holdPaths, "block")} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &weir{dir: t.TempDir(), host: l.a}
	w.begin(t, append([]string{"unshare", "--mount", "--propagation", "private", "bash", "-euc", inImage, "bash", image, state, etc, set}, command...)...)
	t.Cleanup(func() {
		w.stop(t)
		if t.Failed() {
			t.Logf("the Collector's log:\n%s", tail(w.log(), 30))
		}
	})
	w.awaitReady(t, 1)
	if body := l.a.get(t, fmt.Sprintf("http://%s/ok/x?bytes=1000", at)); len(body) != 1000 {
		t.Errorf("%d bytes came", len(body))
	}
	if body, err := l.a.fetch(fmt.Sprintf("http://%s/secret", at)); err == nil || pages.forbidden.Load() != 0 {
		t.Errorf("what the policy blocks gave %q", body)
	}
	if kept, err := filepath.Glob(filepath.Join(state, "*.policy.tar")); err != nil || len(kept) != 1 {
		t.Errorf("the last good policy is not kept: %v, %v", kept, err)
	}
}
