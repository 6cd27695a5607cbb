package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/apiclient"
)

// Rates are of what came since the view before, also where a minute is new.
func TestTopRates(t *testing.T) {
	minute := time.Date(2026, 5, 4, 3, 2, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return minute.Add(time.Duration(minutes) * time.Minute) }
	point := func(minutes int, connections, blocked, bytes uint64) apiclient.Point {
		return apiclient.Point{Time: at(minutes), Counts: apiclient.Counts{Connections: connections, Blocked: blocked, Bytes: bytes}}
	}
	v := &topView{flags: topFlags{window: 5 * time.Minute}}
	now := minute.Add(30 * time.Second)
	for i, tt := range []struct {
		series []apiclient.Point
		want   string
	}{
		{[]apiclient.Point{point(-1, 200, 30, 0), point(0, 100, 0, 3000)}, "1.0 connections/s  0.1 blocked/s  10 B/s of connections that ended  (the last 5m0s)"},
		{[]apiclient.Point{point(-1, 200, 30, 0), point(0, 120, 5, 5000)}, "10.0 connections/s  2.5 blocked/s  1.0 kB/s of connections that ended  (the last 2s)"},
		{[]apiclient.Point{point(0, 121, 5, 5000), point(1, 3, 1, 0)}, "2.0 connections/s  0.5 blocked/s  0 B/s of connections that ended  (the last 2s)"},
		{[]apiclient.Point{{Time: at(2), Counts: apiclient.Counts{WouldBlock: 3}}}, "0.0 connections/s  0.0 blocked/s  1.5 would be/s  0 B/s of connections that ended  (the last 2s)"},
	} {
		s := apiclient.Statistics{Window: "5m0s", Series: tt.series}
		if got := v.rates(&s, now.Add(time.Duration(2*i)*time.Second)); got != tt.want {
			t.Errorf("view %d: %s, want %s", i, got, tt.want)
		}
	}
}

func TestFit(t *testing.T) {
	got := fit("abc→def\nx\ny\n", 4, 2)
	if got != "\x1b[H\x1b[2Jabc→\r\nx" {
		t.Errorf("%q", got)
	}
	if strings.Count(fit("", 80, 24), "\n") != 0 {
		t.Error("lines of nothing")
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1 << 63: "9.2 EB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
