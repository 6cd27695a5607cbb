package datapath

import (
	"testing"
	"errors"
	"fmt"
	"github.com/cilium/ebpf"
	"github.com/weirnet/weir/bpf"
)

func TestLoad(t *testing.T) {
	var o bpf.ConnectionsObjects
	err := bpf.LoadConnectionsObjects(&o, nil)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		n := len(ve.Log)
		for _, l := range ve.Log[max(0, n-60):] { fmt.Println(l) }
	}
	if err != nil { t.Fatal(err) }
}
