package rdssim

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// Reboot restarts the array: connections are cut, exports vanish, the console
// is away for the given time. The exports come back later still, one by one,
// in another order, and with new namespace UUIDs.
func (a *Array) Reboot(down time.Duration) {
	a.mu.Lock()
	if a.down || a.exportsHeld || a.ctx.Err() != nil {
		a.mu.Unlock()
		return
	}
	a.down, a.exportsHeld = true, true
	for _, e := range a.live {
		if err := a.withdraw(e); err != nil {
			a.opts.Logger.Error("reboot", zap.Error(err))
		}
	}
	a.wg.Go(func() { a.boot(down) })
	a.mu.Unlock()
	a.dropConnections()
}

func (a *Array) boot(down time.Duration) {
	if !a.sleep(down) {
		return
	}
	a.mu.Lock()
	a.down, a.booted = false, a.now()
	ids := a.bootOrder()
	a.mu.Unlock()
	for _, id := range ids {
		if !a.sleep(down / time.Duration(2*len(ids))) {
			return
		}
		a.comeBack(id)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.exportsHeld = false
	for _, d := range a.disks {
		if _, live := a.live[d.Slot]; live || !d.exported() {
			continue
		}
		// Exported by the console while the array was booting.
		if err := a.publish(nil, d); err != nil {
			a.opts.Logger.Error("export after reboot", zap.String("slot", d.Slot), zap.Error(err))
		}
	}
}

// bootOrder is an order of the exported disks that is not the present one.
func (a *Array) bootOrder() []int {
	var ids []int
	for _, d := range a.disks {
		if d.exported() {
			ids = append(ids, d.ID)
		}
	}
	before := slices.Clone(ids)
	a.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	if slices.Equal(before, ids) {
		slices.Reverse(ids)
	}
	return ids
}

// comeBack exports one disk again, as it is configured by now.
func (a *Array) comeBack(id int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.disks, func(d *disk) bool { return d.ID == id })
	if i < 0 {
		return
	}
	d := a.disks[i]
	d.UUID, d.encoded = uuid.NewString(), nil
	a.exportsHeld = false
	err := a.publish(nil, d)
	a.exportsHeld = true
	if err == nil {
		err = a.save()
	}
	if err != nil {
		a.opts.Logger.Error("export after reboot", zap.String("slot", d.Slot), zap.Error(err))
	}
}
