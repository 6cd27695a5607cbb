package connectionapiextension

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/telemetry"
)

// TestNodeClient: a client that is not Weir's, nor written in Go, follows server-sent
// events, and goes on where it was.
func TestNodeClient(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	b := newBench(t)
	follow := func(arguments ...string) *bufio.Scanner {
		cmd := exec.CommandContext(t.Context(), node, append([]string{"testdata/events.mjs", b.socket}, arguments...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { cmd.Wait() })
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan())
		require.Equal(t, "open", lines.Text())
		return lines
	}
	first := follow("2")
	b.Connections([]telemetry.Connection{connection(1), blocked(2), connection(3)})
	var last string
	for _, want := range []string{"weir.connection.start allowed", "weir.connection.start blocked"} {
		require.True(t, first.Scan())
		var rest string
		last, rest, _ = strings.Cut(first.Text(), " ")
		require.Equal(t, want, rest)
	}
	require.False(t, first.Scan())

	again := follow("1", last)
	require.True(t, again.Scan())
	require.True(t, strings.HasSuffix(again.Text(), " weir.connection.start allowed"), again.Text())
	require.False(t, strings.HasPrefix(again.Text(), last+" "))
}
