package nvme

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// requiredOptions say who connects to what. A kernel that lacks one cannot be used.
var requiredOptions = []string{"transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid"}

// oldOptions are what every kernel with NVMe/TCP knows, for those too old to list them
// (facts/nvme.md §1.1, libnvme's default list).
var oldOptions = []string{
	"transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid",
	"nr_io_queues", "reconnect_delay", "ctrl_loss_tmo", "keep_alive_tmo",
}

// optionList remembers what this kernel supports: one unknown token and the whole write is
// EINVAL.
type optionList struct {
	mu    sync.Mutex
	known []string
}

// get asks the kernel once. It waits for a create that is running, so only its turn's holder
// calls it.
func (l *optionList) get(f fabrics) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known != nil {
		return l.known, nil
	}
	text, err := f.Options()
	switch {
	case errors.Is(err, unix.EINVAL):
		l.known = oldOptions
	case err != nil:
		return nil, err
	default:
		l.known = parseOptionList(text)
	}
	return l.known, nil
}

// parseOptionList reads "instance=-1,cntlid=-1,transport=%s,…": the keys, without the answer's
// own first two.
func parseOptionList(text string) []string {
	keys := []string{}
	for field := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		key, _, _ := strings.Cut(field, "=")
		if key != "" && key != "instance" && key != "cntlid" {
			keys = append(keys, key)
		}
	}
	return keys
}

// optionString is what is written to /dev/nvme-fabrics, limited to what the kernel knows.
func optionString(t Target, p Portal, hostID string, known []string) (string, error) {
	for _, key := range requiredOptions {
		if !slices.Contains(known, key) {
			return "", fault.Errorf("read the kernel's options", fault.Precondition, "NVMe over Fabrics has no option %s: a kernel of 5.10 or later is needed", key)
		}
	}
	fields := []string{
		"transport=tcp", "traddr=" + p.Address, "trsvcid=" + strconv.Itoa(p.Port),
		"nqn=" + t.NQN, "hostnqn=" + t.HostNQN, "hostid=" + hostID,
	}
	for _, p := range t.Options.parameters() {
		if slices.Contains(known, p.option) {
			fields = append(fields, p.String())
		}
	}
	return strings.Join(fields, ","), nil
}

// parseInstance reads the answer "instance=N,cntlid=M" and gives the controller's name.
func parseInstance(answer string) (string, error) {
	for field := range strings.SplitSeq(strings.TrimSpace(answer), ",") {
		if text, ok := strings.CutPrefix(field, "instance="); ok {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				break
			}
			return "nvme" + strconv.FormatUint(n, 10), nil
		}
	}
	return "", fmt.Errorf("the kernel's answer %q names no controller", answer)
}
