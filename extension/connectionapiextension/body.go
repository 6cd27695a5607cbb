package connectionapiextension

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// readJSON reads a body that holds one value, no key that it does not know, and no
// null: encoding/json takes that for a key which is not there, while the description
// has it nowhere. What stands inside the key `apart` is another reader's.
func readJSON(r *http.Request, value any, apart string) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyError(err)
	}
	if err := decodeWhole(text, value, apart); err != nil {
		return badRequest("read the body as JSON: %.300v", err)
	}
	return nil
}

// bodyError is that of a body that could not be read: it is too long, or too slow.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return &callError{http.StatusRequestTimeout, "the body did not come: " + err.Error(), nil}
}

func decodeWhole(text []byte, value any, apart string) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("there is something after the value")
		}
		return err
	}
	var whole any
	if err := json.Unmarshal(text, &whole); err != nil {
		return err
	}
	if object, ok := whole.(map[string]any); ok && object[apart] != nil {
		delete(object, apart)
	}
	if key, found := findNull(whole); found {
		if key = strings.TrimPrefix(key, "."); key == "" {
			key = "the whole"
		}
		return fmt.Errorf("%s is null; leave out what is not known", key)
	}
	return nil
}

// findNull gives the place of a null, as .key.key[0].
func findNull(value any) (place string, found bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case map[string]any:
		for key, inner := range v {
			if place, found := findNull(inner); found {
				return "." + key + place, true
			}
		}
	case []any:
		for i, inner := range v {
			if place, found := findNull(inner); found {
				return fmt.Sprintf("[%d]%s", i, place), true
			}
		}
	}
	return "", false
}
