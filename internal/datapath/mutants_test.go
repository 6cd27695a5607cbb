package datapath

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// The faults of bpf/mutant.h, by number, that the differential tests are to notice. Those of the
// decoder are looked for with frames, too.
var mutants = []struct {
	name   string
	frames bool // the decoder's test notices, besides the tracker's
}{
	1:  {"destination options of IPv6 are not read through", true},
	2:  {"later fragments find no first", true},
	3:  {"fragments may overlap", true},
	4:  {"VLAN tags are not read", true},
	5:  {"a wrong header checksum is not noticed", true},
	6:  {"a superpacket counts as one packet", true},
	7:  {"what was translated is judged anew", false},
	8:  {"what the destination sends is not counted", false},
	9:  {"packets are counted at every hook", false},
	10: {"a related ICMP error may go to any address", false},
	11: {"later fragments of a related ICMP error are on their own", false},
	12: {"a SYN opens a taken tuple at once", false},
	13: {"equal tuples of two VLANs are one", true},
	14: {"an RST counts at any number", false},
	15: {"null and XMAS segments count", false},
	16: {"what comes in is never for this host", false},
	17: {"a change of policy does not reach open connections", false},
	18: {"what a bridge floods is taken for the host's", false},
	19: {"a fragment's next sighting is an overlap", false},
	20: {"what is settled may be another connection", false},
	21: {"what is settled may be judged by another policy", false},
	22: {"packets are copied at every hook", false},
	23: {"superpackets in tunnels are the tunnel's own", true},
	27: {"what needs facts is not held", false},
	36: {"a SYN against a connection's direction is not judged", false},
	37: {"a connection whose reset nobody took stays over", false},
}

// mutantObject is compiled by go generate, with WEIR_MUTANTS.
const mutantObject = "testdata/mutants_bpfel.o"

// openMutant gives a datapath whose programs can be given a fault.
func openMutant(t *testing.T) *Datapath {
	t.Helper()
	shipped := loadPrograms
	loadPrograms = func() (*ebpf.CollectionSpec, error) { return ebpf.LoadCollectionSpec(mutantObject) }
	defer func() { loadPrograms = shipped }()
	return open(t)
}

// setMutant switches a fault on, and all others off.
func setMutant(t *testing.T, d *Datapath, number int) {
	t.Helper()
	setMutantOf(t, d.objects.Ingress, number)
	setMutantOf(t, d.objects.Egress, number)
}

// setMutantOf does it in the variables of a program.
func setMutantOf(t *testing.T, p *ebpf.Program, number int) {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec(mutantObject)
	if err != nil {
		t.Fatal(err)
	}
	variable := spec.Variables["mutant"]
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if info, err := m.Info(); err != nil || !strings.HasSuffix(info.Name, ".bss") {
			continue
		}
		section := make([]byte, m.ValueSize())
		binary.NativeEndian.PutUint32(section[variable.Offset:], uint32(number))
		if err := m.Put(uint32(0), section); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the programs have no variables")
}

// TestMutants: the differential tests notice each fault within the frames that are run
// by default, or four times the sequences, and nothing where there is none.
func TestMutants(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newTwins(t, openMutant(t))
	for number, mutant := range mutants {
		name := mutant.name
		if number == 0 {
			name = "no fault"
		} else if name == "" {
			continue // noticed by a test of its own
		}
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			setMutant(t, w.datapath, number)
			forget(t, w.datapath)
			w.sightings = 0
			r := rand.New(rand.NewPCG(seed, uint64(number)))
			if number == 0 {
				const some = 200
				if _, difference, n := w.find(t, r, some); difference != "" {
					t.Fatalf("sequence %d: %s", n, difference)
				}
				return
			}
			if mutant.frames {
				difference, n := compareDecoders(t, w.datapath, &generator{Rand: r}, *generatedFrames)
				if difference == "" {
					t.Errorf("not noticed in %d frames", n)
				}
				t.Logf("noticed at frame %d", n+1)
				return
			}
			_, difference, n := w.find(t, r, 4**generatedSequences)
			if difference == "" {
				t.Errorf("not noticed in %d sequences", n)
			}
			t.Logf("noticed at sequence %d, after %d packets", n+1, w.sightings)
		})
	}
}

// TestShippedHasNoMutants: the programs that Weir loads cannot be given a fault.
func TestShippedHasNoMutants(t *testing.T) {
	shipped, err := bpf.LoadConnections()
	if err != nil {
		t.Fatal(err)
	}
	faulty, err := ebpf.LoadCollectionSpec(mutantObject)
	if err != nil {
		t.Fatal(err)
	}
	if faulty.Variables["mutant"] == nil {
		t.Errorf("%s has no mutants either", mutantObject)
	}
	if shipped.Variables["mutant"] != nil {
		t.Error("the shipped programs have a variable that chooses a mutant")
	}
	for name, program := range shipped.Programs {
		other := faulty.Programs[name]
		if other == nil {
			t.Errorf("%s has no program %s: make generate", mutantObject, name)
			continue
		}
		for _, instruction := range program.Instructions {
			if instruction.Reference() == "mutant" {
				t.Errorf("program %s refers to it", name)
			}
		}
	}
}
