package check_test

import (
	"strings"
	"testing"
)

// A report tells nobody where the array is, nor by which keys it is known.
func TestReportHasNoAddressesAndKeys(t *testing.T) {
	r := newRig(t)
	const wrong = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	r.login(t, "csi", r.sim.ClientKeyFile(), wrong)
	r.config.SSH, r.config.Addresses = "rds:22", []string{"[fd00::2]:4420", "192.168.7.9:4420", "fe80::1"}
	r.config.Secrets = map[string]string{"rds": "<array>", r.sim.ClientKeyFile(): "<key file>", "": "never"}
	result, out := r.run(t)
	report := result.Report()
	mustSay(t, out, wrong, r.sim.HostKeyFingerprint(), "rds:22", r.sim.SSHAddr())
	for _, secret := range []string{wrong, r.sim.HostKeyFingerprint(), "rds:22", r.sim.SSHAddr(), "127.0.0.1", "192.168.7.9", "fd00", "fe80", "::2", r.sim.ClientKeyFile()} {
		if strings.Contains(report, secret) {
			t.Errorf("the report has %q:\n%s", secret, report)
		}
	}
	mustSay(t, report, "<array>:22", "rds-csi-plugin check")
}
