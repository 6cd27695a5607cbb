package engine

import (
	"strings"
	"testing"
	"time"
)

// TestAnotherContentOfWhatWasGivenUp: who has the inspector give up what waits, and
// sends something else in its place, is not believed: it would judge the one, and the
// other would be sent on.
func TestAnotherContentOfWhatWasGivenUp(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	client, server := r.connect(t, 4, 80)
	head := strings.TrimSuffix(get("/ok"), "\r\n") + "X: " + strings.Repeat("x", 500) + "\r\n\r\n"
	// As many pieces as are kept of one stream: what follows is given up.
	for i := 2; i < 302; i += 2 {
		client.say(i, []byte(head[i:i+1]))
	}
	client.say(len(head), []byte(get("/no")))
	time.Sleep(pause)
	client.say(0, []byte(head))
	time.Sleep(5 * pause)
	client.say(len(head), []byte(get("/ok")))
	time.Sleep(5 * pause)
	client.say(0, []byte(head))
	time.Sleep(5 * pause)
	for _, s := range server.wire.sights(server.tuple) {
		if strings.Contains(string(s.payload), "/no") {
			t.Errorf("%q came", s.payload)
		}
	}
}
