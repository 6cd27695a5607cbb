package ssh_test

import (
	"fmt"

	"github.com/weirnet/weir/internal/inspect/ssh"
)

func Example() {
	var p ssh.Parser
	p.Read(ssh.Server, []byte("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"))
	fmt.Println(p.Facts().Software.Value, p.Wants(ssh.Server))
	// Output: OpenSSH_9.2p1 true
}
