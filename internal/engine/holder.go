package engine

import (
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
)

// holder reads the packets that the kernel holds, while the policy asks for that.
type holder struct {
	on      bool
	running sync.WaitGroup
}

// wantsHold says whether a policy is enforced by facts that packets alone do not tell.
func wantsHold(p *policy.Policy) bool { return p.Mode == policy.Prevent && p.NeedsFacts() }

// beginHold has packets held where a policy that comes into force asks for that: it is
// called before, so that none passes unheld.
func (e *Engine) beginHold(p *policy.Policy) error {
	if !wantsHold(p) {
		return nil
	}
	err := e.data.SetHold(true, datapath.HoldConfig{OnOpening: needs(p)["names"], Queues: len(e.looks.all)})
	if err != nil {
		return fmt.Errorf("hold packets, for rules that need more than addresses and ports: %w", err)
	}
	if e.holding.on {
		return nil
	}
	e.looks.await(true)
	e.holding.on = true
	e.holding.running.Go(func() {
		if err := e.data.ReadHeld(e.looks.held); err != nil {
			e.log.Error("Packets that are held cannot be read any more; on_error answers for what needs them.", zap.Error(err))
		}
	})
	return nil
}

// endHold ends that where the policy in force does not ask for it.
func (e *Engine) endHold(p *policy.Policy) error {
	if wantsHold(p) || !e.holding.on {
		return nil
	}
	e.holding.on = false
	if err := e.data.SetHold(false, datapath.HoldConfig{}); err != nil {
		return fmt.Errorf("hold packets no longer: %w", err)
	}
	e.holding.running.Wait()
	return nil
}

// stopHold leaves what is held, and waits, to whoever comes next: the datapath stays.
func (e *Engine) stopHold() error {
	if !e.holding.on {
		return nil
	}
	e.holding.on = false
	e.looks.await(false)
	err := e.data.StopReadingHeld()
	e.holding.running.Wait()
	e.data.KeepHeld(e.looks.handOn())
	return err
}
