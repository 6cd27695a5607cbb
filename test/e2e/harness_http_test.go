package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// get fetches a page on the host, from the host.
func (h *host) get(t *testing.T, url string) string {
	t.Helper()
	body, err := h.fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (h *host) fetch(url string) (string, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			// A client dials on when its request is given up.
			if gone := h.tryRun(func() { c, err = (&net.Dialer{}).DialContext(ctx, network, address) }); gone != nil {
				return nil, gone
			}
			return c, err
		},
	}
	client := http.Client{Transport: transport, Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}
