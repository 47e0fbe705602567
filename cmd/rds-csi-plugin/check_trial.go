package main

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/check"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// How patient --write is. An array may still carry out a command settle after its answer was lost; a session
// that was cut asks again every second, so watch is several attempts.
const (
	checkSettle   = 10 * time.Second
	checkWatch    = 6 * time.Second
	checkPatience = 30 * time.Second
)

// trial is what --write works with: NVMe/TCP too where this machine has it.
func (o *checkOptions) trial() (*check.Trial, error) {
	var nonce [4]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	t := &check.Trial{Nonce: hex.EncodeToString(nonce[:]), Settle: checkSettle, Watch: checkWatch, Patience: checkPatience}
	for _, address := range o.nvmeAddresses() {
		t.Portals = append(t.Portals, nvme.Portal{Address: address, Port: o.nvmePort})
	}
	if t.NoHost = check.NoSessions(check.ThisMachine{}, len(t.Portals)); t.NoHost != "" {
		return t, nil
	}
	host, err := nvme.New(nvme.Config{HostNQN: "nqn.2014-08.org.nvmexpress:uuid:" + uuid.NewString(), ConnectTimeout: checkPatience, DeviceTimeout: checkPatience})
	if err != nil {
		return nil, err
	}
	t.Sessions = host
	return t, nil
}
