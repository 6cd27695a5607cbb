package connectionapiextension

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// duration reads one within bounds; without a text it is the default.
func duration(text string, otherwise, least, most time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("%.100q is not accepted; accepted is a duration from %v to %v, such as 90s", text, least, most)
	}
	return d, nil
}

// number reads one within bounds.
func number(query url.Values, key string, otherwise, least, most int) (int, error) {
	text := query.Get(key)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s: %.100q is not accepted; accepted is a number from %d to %d", key, text, least, most)
	}
	return n, nil
}

// choice reads one of some words, the first if there is none.
func choice(query url.Values, key string, words ...string) (int, error) {
	text := query.Get(key)
	if text == "" {
		return 0, nil
	}
	i := slices.Index(words, text)
	if i < 0 {
		return 0, badRequest("%s: %.100q is not accepted; accepted are %s", key, text, strings.Join(words, ", "))
	}
	return i, nil
}
