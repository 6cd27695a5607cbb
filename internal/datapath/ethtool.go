package datapath

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hidesTags says whether an interface takes VLAN tags off the packets that it
// receives, and passes them on beside them (ethtool -k: rx-vlan-offload). Where the
// kernel does not tell, it may.
func hidesTags(name string) bool {
	const receivesVLAN = 1 << 8 // ETH_FLAG_RXVLAN
	// struct ethtool_value and struct ifreq, <linux/ethtool.h> and <linux/if.h>.
	flags := struct{ command, data uint32 }{command: unix.ETHTOOL_GFLAGS}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of its union
	}{data: unsafe.Pointer(&flags)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&flags)
	return errno != 0 || flags.data&receivesVLAN != 0
}
