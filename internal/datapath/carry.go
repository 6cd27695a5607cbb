package datapath

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf"
)

// carry copies the content of a map into one with another layout or size.
type carry struct {
	name       string
	old, ours  *ebpf.Map
	key, value *translator
	// index turns an index into another, of counters that are numbered by what
	// they count; nil: the same.
	index func(uint32) (uint32, bool)
	// before are the counters when they were copied, by index.
	before map[uint32][]byte
	flow   flowFields // of map flows
	// lost are elements for which there was no room.
	lost uint64
}

func newCarry(name string, old, ours *ebpf.Map, then, now layouts) (*carry, error) {
	c := &carry{name: name, old: old, ours: ours}
	var err error
	for role, t := range map[string]**translator{name + ".key": &c.key, name + ".value": &c.value} {
		if then[role] == nil || now[role] == nil {
			return nil, fmt.Errorf("carry map %s over: its layout is not described", name)
		}
		if *t, err = newTranslator(then[role], now[role]); err != nil {
			return nil, fmt.Errorf("carry map %s over: %w", name, err)
		}
	}
	if c.key.fromSize != int(old.KeySize()) || c.value.fromSize != int(old.ValueSize()) ||
		c.key.toSize != int(ours.KeySize()) || c.value.toSize != int(ours.ValueSize()) {
		return nil, fmt.Errorf("carry map %s over: its keys are of %d bytes and its values of %d, not as described",
			name, old.KeySize(), old.ValueSize())
	}
	if name == "flows" {
		if c.flow, err = findFlowFields(now[name+".value"]); err != nil {
			return nil, fmt.Errorf("carry map flows over: %w", err)
		}
	}
	if then[name+".index"] != nil && now[name+".index"] != nil {
		c.index = reindex(dimensionsOf(then[name+".index"]), dimensionsOf(now[name+".index"]))
	}
	return c, nil
}

func isArray(m *ebpf.Map) bool { return m.Type() == ebpf.Array || m.Type() == ebpf.PerCPUArray }

// buffer is room for elements of one map.
type buffer struct {
	size                 int
	keys, values         any
	keyBytes, valueBytes []byte
	keySize, valueSize   int
}

const carryBatch = 4096

func newBuffer(keySize, valueSize uint32) *buffer {
	b := &buffer{size: carryBatch, keySize: int(keySize), valueSize: int(valueSize)}
	b.keys, b.keyBytes = byteArrays(carryBatch, b.keySize)
	b.values, b.valueBytes = byteArrays(carryBatch, b.valueSize)
	return b
}

// byteArrays is a slice of byte arrays, as the batch calls want it, and its bytes.
func byteArrays(n, size int) (any, []byte) {
	s := reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(size, reflect.TypeFor[byte]())), n, n)
	return s.Interface(), unsafe.Slice((*byte)(s.UnsafePointer()), n*size)
}

func (b *buffer) key(i int) []byte   { return b.keyBytes[i*b.keySize:][:b.keySize] }
func (b *buffer) value(i int) []byte { return b.valueBytes[i*b.valueSize:][:b.valueSize] }

// each hands over all elements, translated, in batches. The slices are valid
// during the call only.
func (c *carry) each(handle func(b *buffer, n int) error) error {
	from := newBuffer(c.old.KeySize(), c.old.ValueSize())
	to := newBuffer(c.ours.KeySize(), c.ours.ValueSize())
	var cursor ebpf.MapBatchCursor
	for {
		n, err := c.old.BatchLookup(&cursor, from.keys, from.values, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return fmt.Errorf("read map %s of an earlier Weir: %w", c.name, err)
		}
		for i := range n {
			c.key.translate(to.key(i), from.key(i))
			c.value.translate(to.value(i), from.value(i))
		}
		if n > 0 {
			if err := handle(to, n); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// putAll copies every element. Nobody else may write to the map yet.
func (c *carry) putAll() error {
	return c.each(func(b *buffer, n int) error {
		if isArray(c.ours) {
			return c.putIndexed(b, n)
		}
		return c.put(b, n)
	})
}

func (c *carry) put(b *buffer, n int) error {
	keys, values := reflect.ValueOf(b.keys).Slice(0, n).Interface(), reflect.ValueOf(b.values).Slice(0, n).Interface()
	done, err := c.ours.BatchUpdate(keys, values, nil)
	if err == nil {
		return nil
	}
	if !isFull(err) {
		return fmt.Errorf("carry map %s over: %w", c.name, err)
	}
	c.lost += uint64(n - done)
	return nil
}

// putIndexed copies the elements of an array as far as there are such in both.
func (c *carry) putIndexed(b *buffer, n int) error {
	for i := range n {
		index := le32(b.key(i))
		if index >= c.ours.MaxEntries() {
			continue
		}
		if err := c.ours.Put(index, b.value(i)); err != nil {
			return fmt.Errorf("carry map %s over: %w", c.name, err)
		}
	}
	return nil
}

// addCounters adds to counters of each processor, and to each number in them, what
// was counted since the last call.
func (c *carry) addCounters() error {
	if c.before == nil {
		c.before = map[uint32][]byte{}
	}
	for i := range c.old.MaxEntries() {
		index := i
		if c.index != nil {
			var ok bool
			if index, ok = c.index(i); !ok {
				continue
			}
		}
		if index >= c.ours.MaxEntries() {
			continue
		}
		if err := c.addCounter(i, index); err != nil {
			return fmt.Errorf("carry counter %d of map %s over: %w", i, c.name, err)
		}
	}
	return nil
}

func (c *carry) addCounter(from, to uint32) error {
	var old, ours [][]byte
	if err := c.old.Lookup(from, &old); err != nil {
		return err
	}
	if err := c.ours.Lookup(to, &ours); err != nil {
		return err
	}
	before, changed := c.before[from], false
	var now []byte
	for cpu := range min(len(old), len(ours)) {
		value := make([]byte, c.value.toSize)
		c.value.translate(value, old[cpu])
		at := len(now)
		now = append(now, value...)
		for word := 0; word+8 <= len(value); word += 8 {
			grown := le64(value[word:])
			if before != nil {
				grown -= le64(before[at+word:])
			}
			if grown > 0 {
				putLE64(ours[cpu][word:], le64(ours[cpu][word:])+grown)
				changed = true
			}
		}
	}
	c.before[from] = now
	if !changed {
		return nil
	}
	return c.ours.Put(to, ours)
}
