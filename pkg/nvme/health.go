package nvme

import (
	"fmt"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Attached lists the NQNs that have a controller under the host NQN now, in whatever state.
func (h *Host) Attached(hostNQN string) ([]string, error) {
	all, err := h.tree.controllers()
	if err != nil {
		return nil, fmt.Errorf("list NVMe controllers: %w", err)
	}
	var nqns []string
	for _, c := range all {
		if c.hostNQN == hostNQN {
			nqns = append(nqns, c.nqn)
		}
	}
	slices.Sort(nqns)
	return slices.Compact(nqns), nil
}

// States counts the controllers with our host NQN by state; every state is there, with 0 where
// there is none. It reads a few small files for each controller and nothing that can block.
func (h *Host) States() (map[telemetry.ControllerState]int, error) {
	all, err := h.tree.controllers()
	if err != nil {
		return nil, fmt.Errorf("list NVMe controllers: %w", err)
	}
	states := noStates()
	for _, c := range all {
		if c.hostNQN == h.hostNQN {
			states[stateOf(c.state)]++
		}
	}
	return states, nil
}

func noStates() map[telemetry.ControllerState]int {
	states := map[telemetry.ControllerState]int{}
	for _, s := range telemetry.ControllerStates() {
		states[s] = 0
	}
	return states
}

// stateOf folds the kernel's states into the closed set: "deleting (no IO)" is deleting, and
// what the set does not have, such as new, is unknown.
func stateOf(kernel string) telemetry.ControllerState {
	state := telemetry.ControllerState(kernel)
	if strings.HasPrefix(kernel, stateDeleting) {
		state = telemetry.ControllerDeleting
	}
	if !slices.Contains(telemetry.ControllerStates(), state) {
		return telemetry.ControllerUnknown
	}
	return state
}
