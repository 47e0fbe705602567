package nvme

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// export is what the simulated array says of a volume it exports, in the file exports/<NQN> of
// its directory.
type export struct {
	Path  string   `json:"path"`  // absolute path of the backing file
	Hosts []string `json:"hosts"` // host NQNs that may connect; none = any
}

// export reads the simulated array's word. It refuses as a target would.
func (l *Loop) export(nqn string) (export, error) {
	const op = "ask the simulated array"
	dir := filepath.Join(l.dir, "exports")
	text, err := os.ReadFile(filepath.Join(dir, nqn))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return export{}, fault.Errorf(op, fault.NVMeConnectRefused, "%w: is the simulated array running with this directory?", err)
		}
		return export{}, fault.Errorf(op, fault.NVMeDenied, "%w: %s", unix.EIO, refusalOf(unix.EIO).hint)
	}
	if err != nil {
		return export{}, fault.E(op, fault.Unavailable, err)
	}
	var e export
	if err := json.Unmarshal(text, &e); err != nil {
		return export{}, fault.Errorf(op, fault.Unavailable, "exports/%s: %w", nqn, err)
	}
	if !filepath.IsAbs(e.Path) {
		return export{}, fault.Errorf(op, fault.Unavailable, "exports/%s: %q is no absolute path", nqn, e.Path)
	}
	return e, nil
}

func (e export) admit(hostNQN string) error {
	if len(e.Hosts) > 0 && !slices.Contains(e.Hosts, hostNQN) {
		return fault.Errorf("ask the simulated array", fault.NVMeDenied, "%w: the volume is not exported to %s", unix.EIO, hostNQN)
	}
	return nil
}

// attachments is the directory of a host's links: named by the UUID of its NQN where it has one.
func (l *Loop) attachments(hostNQN string) string {
	name := hostNQN
	if id, ok := strings.CutPrefix(hostNQN, "nqn.2014-08.org.nvmexpress:uuid:"); ok && uuid.Validate(id) == nil {
		name = id
	}
	return filepath.Join(l.dir, "attached", name)
}

func (l *Loop) attachment(hostNQN, nqn string) string {
	return filepath.Join(l.attachments(hostNQN), nqn)
}
