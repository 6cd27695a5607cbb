package e2e

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recorder writes what an interface sees into a capture file, as tcpdump does.
type recorder struct {
	path   string
	socket int
	frames int
	file   *os.File
	ended  chan error
}

// record begins to record; from then on every frame is in the file.
func (h *host) record(t *testing.T, device string) *recorder {
	t.Helper()
	r := &recorder{path: filepath.Join(t.TempDir(), "capture.pcap"), socket: -1, ended: make(chan error, 1)}
	var err error
	if r.file, err = os.Create(r.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.file.Close() })
	h.run(func() { err = r.open(device) })
	if err != nil {
		t.Fatalf("record the frames of %s: %v", device, err)
	}
	t.Cleanup(func() { unix.Close(r.socket) })
	// Magic number of times in nanoseconds, version 2.4, no snapshot length to
	// speak of, Ethernet.
	head := []uint32{0xa1b23c4d, 4<<16 | 2, 0, 0, 1 << 18, 1}
	if err := binary.Write(r.file, binary.LittleEndian, head); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.read() }()
	return r
}

func (r *recorder) open(device string) (err error) {
	if r.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	for _, option := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64 << 20},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
	} {
		if err := unix.SetsockoptInt(r.socket, option.level, option.name, option.value); err != nil {
			return err
		}
	}
	wait := unix.Timeval{Usec: 100000} // for the next frame; then see whether it is time to stop
	if err := unix.SetsockoptTimeval(r.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
	return unix.Bind(r.socket, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
}

// stopMark is the ethertype of the frame that ends a recording (IEEE 802 local
// experimental).
const stopMark = 0x88b5

func (r *recorder) read() error {
	frame, control := make([]byte, 1<<17), make([]byte, 256)
	for {
		n, nc, _, _, err := unix.Recvmsg(r.socket, frame, control, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		whole, at, err := restored(frame[:n], control[:nc])
		if err != nil {
			return err
		}
		if len(whole) >= 14 && binary.BigEndian.Uint16(whole[12:]) == stopMark {
			return r.file.Close()
		}
		r.frames++
		head := []uint32{uint32(at.Unix()), uint32(at.Nanosecond()), uint32(len(whole)), uint32(len(whole))}
		if err := binary.Write(r.file, binary.LittleEndian, head); err != nil {
			return err
		}
		if _, err := r.file.Write(whole); err != nil {
			return err
		}
	}
}

// restored is the frame as it was on the wire, with the VLAN tag that the kernel
// hands over beside it, and its time.
func restored(frame, control []byte) ([]byte, time.Time, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, time.Time{}, err
	}
	var at time.Time
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS:
			stamp := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			at = time.Unix(stamp.Unix())
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA:
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
			if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 {
				continue
			}
			tag := binary.BigEndian.AppendUint16(nil, aux.Vlan_tpid)
			tag = binary.BigEndian.AppendUint16(tag, aux.Vlan_tci)
			frame = append(append(append([]byte(nil), frame[:12]...), tag...), frame[12:]...)
		}
	}
	return frame, at, nil
}

// stop ends the recording. It fails where frames were lost.
func (r *recorder) stop(t *testing.T, h *host, device string) {
	t.Helper()
	mark := make([]byte, 60)
	binary.BigEndian.PutUint16(mark[12:], stopMark)
	copy(mark[6:], h.link(t, device).HardwareAddr)
	h.sendFrame(t, device, mark)
	var err error
	select {
	case err = <-r.ended:
	case <-time.After(patience):
		err = errors.New("the end mark is not seen")
	}
	if err != nil {
		t.Fatalf("end the recording: %v", err)
	}
	lost, err := unix.GetsockoptTpacketStats(r.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || lost.Drops > 0 {
		t.Fatalf("the recording lacks %d frames: %v", lost.Drops, err)
	}
}

func (h *host) link(t *testing.T, device string) (link *net.Interface) {
	t.Helper()
	var err error
	h.run(func() { link, err = net.InterfaceByName(device) })
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// sendFrame sends a whole frame by an interface.
func (h *host) sendFrame(t *testing.T, device string, frame []byte) {
	t.Helper()
	to := &unix.SockaddrLinklayer{Ifindex: h.link(t, device).Index, Halen: 6}
	var err error
	h.run(func() {
		var s int
		if s, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err == nil {
			err = errors.Join(unix.Sendto(s, frame, 0, to), unix.Close(s))
		}
	})
	if err != nil {
		t.Fatalf("send a frame by %s: %v", device, err)
	}
}

// segmented has an interface send and receive every segment by itself, with its
// checksum, so that a capture holds what is on a wire.
func (h *host) segmented(t *testing.T, device string) {
	t.Helper()
	var err error
	h.run(func() {
		var s int
		if s, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(s)
		// ETHTOOL_SGRO, SGSO, STSO, STXCSUM of <linux/ethtool.h>
		for _, command := range []uint32{0x2c, 0x24, 0x1f, 0x17} {
			value := [2]uint32{command, 0}
			request := struct {
				name  [unix.IFNAMSIZ]byte
				value *[2]uint32
				_     [16]byte
			}{value: &value}
			copy(request.name[:], device)
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
			runtime.KeepAlive(&value)
			if errno != 0 {
				err = errno
				return
			}
		}
	})
	if err != nil {
		t.Fatalf("switch off the offloads of %s: %v", device, err)
	}
}
