package connectionapiextension

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/telemetry"
)

// TestDocumentedCalls runs the commands of docs/api.md in their order. Where JSON
// follows, the answer has all that is in it.
func TestDocumentedCalls(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl: ", err)
	}
	text, err := os.ReadFile("../../docs/api.md")
	require.NoError(t, err)
	b := newBench(t)
	b.engine.live = []telemetry.Connection{connection(1), connection(2), blocked(3), connection(66)}
	work := t.TempDir()
	blocks := regexp.MustCompile("(?s)\n```(sh|json)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	var alias, answer string
	compared := 0
	for _, block := range blocks {
		content := strings.ReplaceAll(block[2], "/run/weir/api.sock", b.socket)
		switch {
		case block[1] == "json":
			var want, got any
			require.NoError(t, json.Unmarshal([]byte(content), &want), content)
			require.NoError(t, json.Unmarshal([]byte(answer), &got), answer)
			assert.NoError(t, has(got, want, ""), answer)
			compared++
		case strings.HasPrefix(content, "alias"):
			alias = content
		default:
			cmd := exec.Command("bash", "-c", "shopt -s expand_aliases\nset -e\n"+alias+content)
			cmd.Dir, cmd.Stderr = work, os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err, "%s\n%s", content, out)
			answer = string(out)
		}
	}
	assert.Greater(t, compared, 8)
	policy, err := os.ReadFile(filepath.Join(b.dir, "policy.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(policy), "[22, 443]")
}

// has says what of a value is missing in another.
func has(got, want any, path string) error {
	switch want := want.(type) {
	case map[string]any:
		m, _ := got.(map[string]any)
		for k, v := range want {
			if err := has(m[k], v, path+"."+k); err != nil {
				return err
			}
		}
		return nil
	case []any:
		list, _ := got.([]any)
		if len(list) < len(want) || len(want) == 0 && len(list) > 0 {
			return fmt.Errorf("%s has %d elements", path, len(list))
		}
		for i, v := range want {
			if err := has(list[i], v, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if got != want {
		return fmt.Errorf("%s is %v, want %v", path, got, want)
	}
	return nil
}

func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		var file map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(block[1]), &file))
		conf, err := confmap.NewFromStringMap(file).Sub("extensions::connection_api")
		require.NoError(t, err)
		c := createDefaultConfig().(*Config)
		require.NoError(t, conf.Unmarshal(c), block[1])
		require.NoError(t, c.Validate(), block[1])
	}
	// What the table says of defaults is so.
	c := createDefaultConfig().(*Config)
	for name, value := range map[string]any{
		"endpoint": c.NetAddr.Endpoint, "max_request_body_size": c.MaxRequestBodySize, "read_header_timeout": "10s", "read_timeout": "1m",
		"write_timeout": "1m", "events::buffer": c.Events.Buffer, "events::max_subscribers": c.Events.MaxSubscribers, "events::write_timeout": "30s",
	} {
		assert.Contains(t, string(text), fmt.Sprintf("| `%s` | `%v` |", name, value))
	}
	assert.Equal(t, [4]string{"10s", "1m0s", "1m0s", "30s"}, [4]string{
		c.ReadHeaderTimeout.String(), c.ReadTimeout.String(), c.WriteTimeout.String(), c.Events.WriteTimeout.String(),
	})
}
