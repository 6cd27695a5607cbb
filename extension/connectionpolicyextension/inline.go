package connectionpolicyextension

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// inlineNode turns an inline policy, which the Collector has already decoded,
// back into the YAML nodes that the policy reader takes. The nodes have no line
// numbers, so errors name the key path.
//
// A number's source text is gone by then; it is written with a decimal point
// where it was a float, so that 1.0, a version, does not become 1.
func inlineNode(value any, path string) (*yaml.Node, error) {
	switch v := value.(type) {
	case nil:
		return scalar("!!null", "null"), nil
	case string:
		node := scalar("!!str", v)
		node.Style = yaml.DoubleQuotedStyle
		return node, nil
	case bool:
		return scalar("!!bool", strconv.FormatBool(v)), nil
	case int, int32, int64, uint64:
		return scalar("!!int", fmt.Sprint(v)), nil
	case float32:
		return scalar("!!float", floatText(float64(v))), nil
	case float64:
		return scalar("!!float", floatText(v)), nil
	case time.Time:
		return scalar("!!timestamp", v.Format(time.RFC3339Nano)), nil
	case []any:
		return inlineList(v, path)
	case map[string]any:
		return inlineMap(v, path)
	}
	return nil, fmt.Errorf("%s: a policy has no values of type %T: quote it", path, value)
}

func inlineList(list []any, path string) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i, item := range list {
		child, err := inlineNode(item, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, child)
	}
	return node, nil
}

func inlineMap(m map[string]any, path string) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	// Sorted, so that errors come in the same order every time.
	for _, key := range slices.Sorted(maps.Keys(m)) {
		child, err := inlineNode(m[key], path+"::"+key)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, scalar("!!str", key), child)
	}
	return node, nil
}

func scalar(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

func floatText(f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
