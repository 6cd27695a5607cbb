package e2e

import (
	"net/netip"
	"testing"
)

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// tenants is a host with a VRF for each of two tenants, whose hosts have the same
// addresses. Red has a second network behind the host, by a VLAN device too.
func tenants(t *testing.T) (h *host, red, blue, beyond *host) {
	t.Helper()
	needKernel(t)
	h, red, blue, beyond = newHost(t), newHost(t), newHost(t), newHost(t)
	wire(t, h, "red0", red, "eth0")
	wire(t, h, "red1", beyond, "eth0")
	wire(t, h, "blue0", blue, "eth0")
	h.vrf(t, "red", 10, "red0", "red1")
	h.vrf(t, "blue", 70000, "blue0")
	h.address(t, "red0", "198.18.0.1/24")
	h.address(t, "red1", "198.18.1.1/24")
	h.address(t, "blue0", "198.18.0.1/24")
	for _, tenant := range []*host{red, blue} {
		tenant.address(t, "eth0", "198.18.0.2/24")
		tenant.route(t, "198.18.0.1")
	}
	beyond.address(t, "eth0", "198.18.1.2/24")
	beyond.route(t, "198.18.1.1")
	h.sysctl(t, "net/ipv4/ip_forward", "1")
	return h, red, blue, beyond
}

// stories are what was told of equal tuples, by connection, once all have ended.
func (w *weir) stories(t *testing.T, c tuple, count int) []story {
	t.Helper()
	var all []story
	awaitOr(t, func() bool {
		byID := map[string]story{}
		var order []string
		for _, r := range w.records(t) {
			if id := r.str("weir.connection.id"); c.is(r) {
				if byID[id] == nil {
					order = append(order, id)
				}
				byID[id] = append(byID[id], r)
			}
		}
		all = nil
		ended := 0
		for _, id := range order {
			all = append(all, byID[id])
			ended += len(byID[id].of("end"))
		}
		return len(all) >= count && ended >= count
	}, func() { t.Fatalf("want %d connections %v, got %v", count, c, all) })
	if len(all) != count {
		t.Fatalf("want %d connections %v, got %v", count, c, all)
	}
	return all
}

// TestVRFs: equal tuples of two VRFs are two connections, also at the same time;
// within a VRF what is forwarded is one.
func TestVRFs(t *testing.T) {
	t.Parallel()
	h, red, blue, beyond := tenants(t)
	w := start(t, h, config{interfaces: "auto"})
	for name, watched := range map[string]bool{"red0": true, "red1": true, "blue0": true, "red": false, "blue": false, "lo": false} {
		h.isWatched(t, name, watched)
	}
	for _, direction := range []string{"inbound", "outbound"} {
		ways := map[string]way{
			"red0":  {from: red, to: h, toDevice: "red", source: "198.18.0.2:7000", destination: "198.18.0.1:80", near: h},
			"blue0": {from: blue, to: h, toDevice: "blue", source: "198.18.0.2:7000", destination: "198.18.0.1:80", near: h},
		}
		if direction == "outbound" {
			ways = map[string]way{
				"red0":  {from: h, to: red, fromDevice: "red", source: "198.18.0.1:7001", destination: "198.18.0.2:81", near: h},
				"blue0": {from: h, to: blue, fromDevice: "blue", source: "198.18.0.1:7001", destination: "198.18.0.2:81", near: h},
			}
		}
		pairs := map[string]*pair{}
		for name, way := range ways { // all open before any ends
			pairs[name] = way.open(t)
		}
		want := map[string]expectation{}
		for name, size := range map[string]int{"red0": 1000, "blue0": 90_000} {
			e := detected
			e.direction, e.iface = direction, name
			e.source, e.destination = pairs[name].exchange(t, size, 2*size)
			want[name] = e
		}
		for _, s := range w.stories(t, pairs["red0"].tuple, 2) {
			name := s[0].str("network.interface.name")
			for _, r := range s {
				expectRecord(t, r, pairs["red0"].tuple, want[name])
			}
			delete(want, name)
		}
		if len(want) != 0 {
			t.Errorf("not told: %v", want)
		}
	}
	p := way{from: red, to: beyond, destination: "198.18.1.2:80"}.open(t)
	e := detected
	e.direction, e.iface = "forwarded", "red0"
	e.source, e.destination = p.exchange(t, 100_000, 200_000)
	w.expect(t, p.tuple, e)
}

// TestOpenInVRF: connections that are open at the start, to equal addresses.
func TestOpenInVRF(t *testing.T) {
	t.Parallel()
	h, red, blue, _ := tenants(t)
	ways := []way{
		{from: h, to: red, fromDevice: "red", source: "198.18.0.1:1000", destination: "198.18.0.2:50000", near: h},
		{from: h, to: blue, fromDevice: "blue", source: "198.18.0.1:1000", destination: "198.18.0.2:50000", near: h},
	}
	var pairs []*pair
	for _, way := range ways {
		pairs = append(pairs, way.open(t))
	}
	w := start(t, h, config{interfaces: "auto"})
	for _, p := range pairs {
		p.exchange(t, 1000, 1000)
	}
	for _, s := range w.stories(t, pairs[0].tuple, 2) {
		for _, r := range s {
			if r.str("weir.direction") != "outbound" {
				t.Errorf("%s is %s", r.body, r.str("weir.direction"))
			}
		}
	}
}

// TestEnslaved: an interface that comes into a VRF, and out of it, while it is
// watched.
func TestEnslaved(t *testing.T) {
	t.Parallel()
	h, red, blue, _ := tenants(t)
	w := start(t, h, config{interfaces: "{include: ['red?', 'blue?']}"})
	h.enslave(t, "blue0", "") // its address is gone with its table
	h.address(t, "blue0", "")
	blueOutside := way{from: blue, to: h, source: "198.18.0.2:7000", destination: "198.18.0.1:80", near: h}
	inRed := way{from: red, to: h, toDevice: "red", source: "198.18.0.2:7000", destination: "198.18.0.1:80", near: h}
	a, b := blueOutside.open(t), inRed.open(t)
	a.exchange(t, 10, 10)
	b.exchange(t, 10, 10)
	w.stories(t, a.tuple, 2)
}

// TestVLANInVRF: the wire is watched as well as the VLAN device, which alone is in
// the VRF. What is for the host is so, though the wire's own table does not know.
func TestVLANInVRF(t *testing.T) {
	t.Parallel()
	near, far := trunk(t)
	near.vrf(t, "red", 10, "outer")
	// By the main table it would be forwarded.
	near.routeTo(t, "0.0.0.0/0", "198.18.0.2", nearName, 0)
	near.sysctl(t, "net/ipv4/ip_forward", "1")
	w := start(t, near, config{interfaces: "{include: [weir0, outer]}"})
	for direction, c := range map[string]struct {
		way
		iface string
	}{
		"inbound":  {way{from: far, to: near, toDevice: "red", destination: "198.18.5.1:80", near: near}, nearName},
		"outbound": {way{from: near, to: far, fromDevice: "red", destination: "198.18.5.2:80", near: near}, "outer"},
	} {
		p := c.open(t)
		e := detected
		e.direction, e.iface = direction, c.iface
		e.source, e.destination = p.exchange(t, 1000, 2000)
		w.expect(t, p.tuple, e)
	}
}
