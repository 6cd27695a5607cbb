package connectionapiextension

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

// openAPIYAML describes the API (OpenAPI 3.1).
//
//go:embed openapi.yaml
var openAPIYAML []byte

// openAPIJSON is the same as JSON.
var openAPIJSON = func() []byte {
	var description any
	err := yaml.Unmarshal(openAPIYAML, &description)
	if err == nil {
		var text []byte
		if text, err = json.Marshal(description); err == nil {
			return text
		}
	}
	panic(fmt.Sprintf("openapi.yaml, which is part of the program, is wrong: %v", err))
}()

func serveOpenAPI(mediaType string, text []byte) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", mediaType)
		w.Write(text)
		return nil
	}
}
