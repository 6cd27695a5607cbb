package datapath

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// paths is what is known of the network namespace's interfaces, and of those that
// routes lead through. It is read once, and then kept by the kernel's news.
//
// Routes are not kept: a router may have a million. Of each interface one is, as
// the proof that it is routed. Only where a proof is withdrawn must the tables be
// read again; that the million come and go costs no more than reading the news.
type paths struct {
	interfaces map[int]*iface
	lives      uint64
	ofRoutes   bool // routes matter: interfaces are chosen by them
	routed     map[int]proof
	proofs     map[routeKey]int // of how many interfaces
	doubtful   bool             // a proof is gone
	scratch    route
}

type proof struct {
	key       routeKey
	connected bool
}

func newPaths(ofRoutes bool) *paths {
	return &paths{
		interfaces: map[int]*iface{}, ofRoutes: ofRoutes, routed: map[int]proof{}, proofs: map[routeKey]int{},
	}
}

// read reads everything.
func (p *paths) read() error {
	return errors.Join(p.readLinks(), p.readRoutes())
}

// readLinks lists the interfaces.
func (p *paths) readLinks() error {
	const skipStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	present := map[int]bool{}
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics)))
	whole, err := dump(request, unix.RTM_NEWLINK, func(m []byte) {
		if i, ok := readLink(m); ok {
			present[i.index] = true
			p.set(i)
		}
	})
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for index := range p.interfaces {
		if whole && !present[index] {
			p.remove(index)
		}
	}
	return nil
}

// readRoutes looks for the interfaces that a route leads through to other hosts, in
// the routing tables of all rules and VRFs.
func (p *paths) readRoutes() error {
	if !p.ofRoutes {
		return nil
	}
	before := p.routed
	p.routed, p.proofs, p.doubtful = map[int]proof{}, map[routeKey]int{}, false
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	request.AddData(&nl.RtMsg{}) // all families and tables
	unresolved := false
	whole, err := dump(request, unix.RTM_NEWROUTE, func(m []byte) {
		if readRoute(m, &p.scratch) {
			p.prove(&p.scratch)
			unresolved = unresolved || p.scratch.isUnresolved()
		}
	})
	if err == nil && unresolved {
		err = p.readNexthops()
	}
	if err != nil || !whole { // it may lack some: nobody is left because of it
		for index, proof := range before {
			if _, found := p.routed[index]; !found {
				p.setProof(index, proof)
			}
		}
		p.doubtful = true
	}
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	return nil
}

// readNexthops takes every interface of a nexthop object (Linux 5.3) for routed.
// Routes name but the object where net.ipv4.nexthop_compat_mode is off.
func (p *paths) readNexthops() error {
	const (
		sizeofNhmsg = 8
		attrOIF     = 5 // NHA_OIF
	)
	request := nl.NewNetlinkRequest(unix.RTM_GETNEXTHOP, unix.NLM_F_DUMP)
	request.AddRawData(make([]byte, sizeofNhmsg))
	_, err := dump(request, unix.RTM_NEWNEXTHOP, func(m []byte) {
		attributes(m[min(len(m), sizeofNhmsg):], func(kind uint16, value []byte) {
			if kind == attrOIF {
				p.prove(&route{hops: []int{int(number(value))}})
			}
		})
	})
	return err
}

// dump asks the kernel for a list. It is not whole where the list changed
// meanwhile.
func dump(request *nl.NetlinkRequest, answer uint16, f func([]byte)) (whole bool, err error) {
	err = request.ExecuteIter(unix.NETLINK_ROUTE, answer, func(m []byte) bool {
		f(m)
		return true
	})
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, nil
	}
	return err == nil, err
}

// learn takes in the kernel's news. It returns whether an interface may have to
// be watched or left.
func (p *paths) learn(messages []syscall.NetlinkMessage) (changed bool) {
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWLINK:
			if i, ok := readLink(m.Data); ok && p.set(i) {
				changed = true
			}
		case unix.RTM_DELLINK:
			if i, ok := readLink(m.Data); ok {
				p.remove(i.index)
				changed = true
			}
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if !readRoute(m.Data, &p.scratch) {
				continue
			}
			withdrawn := m.Header.Type == unix.RTM_DELROUTE || m.Header.Flags&unix.NLM_F_REPLACE != 0
			if withdrawn && p.proofs[p.scratch.key] > 0 || p.scratch.isUnresolved() {
				p.doubtful = true
			}
			if m.Header.Type == unix.RTM_NEWROUTE && p.prove(&p.scratch) {
				changed = true
			}
		}
	}
	return changed
}

// prove notes that a route leads through its interfaces. It returns whether that
// is new of one.
func (p *paths) prove(r *route) (changed bool) {
	for _, index := range r.hops {
		known, found := p.routed[index]
		if found && (known.connected || !r.connected) {
			continue
		}
		p.dropProof(index)
		p.setProof(index, proof{r.key, r.connected})
		changed = changed || !found
	}
	return changed
}

func (p *paths) setProof(index int, by proof) {
	p.routed[index] = by
	p.proofs[by.key]++
}

func (p *paths) dropProof(index int) {
	by, found := p.routed[index]
	if !found {
		return
	}
	delete(p.routed, index)
	if p.proofs[by.key]--; p.proofs[by.key] == 0 {
		delete(p.proofs, by.key)
	}
}

// set notes an interface. It returns whether anything that matters changed.
func (p *paths) set(i iface) (changed bool) {
	known := p.interfaces[i.index]
	if known != nil {
		i.life = known.life
		if *known == i {
			return false
		}
		// Its IPv4 routes go without a word when it is set down, and only after the
		// news of that: they may still have been there when the tables were read again.
		if known.up != i.up {
			if _, routed := p.routed[i.index]; routed {
				p.doubtful = true
			}
		}
	} else {
		p.lives++
		i.life = p.lives
	}
	p.interfaces[i.index] = &i
	return true
}

func (p *paths) remove(index int) {
	delete(p.interfaces, index)
	p.dropProof(index)
}
