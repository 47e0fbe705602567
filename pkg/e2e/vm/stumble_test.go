package vm

import "testing"

// Only this very death is the emulation's. Whatever else ends a guest is a failure.
func TestWhichGuestsAreBootedAgain(t *testing.T) {
	for console, want := range map[string]bool{
		"[    3.142933] Oops: int3: 0000 [#2] PREEMPT SMP NOPTI\n[    3.143488] Kernel panic - not syncing: Fatal exception in interrupt": true,
		"[    3.142933] Oops: int3: 0000 [#2] PREEMPT SMP NOPTI":                                                                          false,
		"[    9.1] BUG: kernel NULL pointer dereference\n[    9.2] Kernel panic - not syncing: Fatal exception":                           false,
		"[    9.1] Kernel panic - not syncing: VFS: Unable to mount root fs":                                                              false,
		"": false,
	} {
		if got := stumbled(console); got != want {
			t.Errorf("%q: %v", console, got)
		}
	}
}
