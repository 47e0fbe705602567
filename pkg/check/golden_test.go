package check_test

import (
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

const page = "../../docs/reference/check.md"

// The reference shows what is really printed.
func TestReferenceShowsWhatIsPrinted(t *testing.T) {
	before := newRig(t).crowded(t)
	_, look := before.run(t)
	tried := newRig(t).trying(true)
	result, try := tried.run(t)
	_, try, _ = strings.Cut(try, "Scratch volume\n")
	without := newRig(t).trying(false)
	without.config.User = "csi"
	_, alone := without.run(t)
	_, alone, _ = strings.Cut(alone, "Scratch volume\n")
	for name, shown := range map[string]string{"look": look, "try": "Scratch volume\n" + try, "try without NVMe/TCP": "Scratch volume\n" + alone, "report": result.Report()} {
		if strings.Count(shown, "\n") < 5 {
			t.Fatalf("%s: nothing was printed: %s", name, shown)
		}
		goldentest.Section(t, page, name, "```text\n"+platform(shown)+"```\n")
	}
}

// platform takes out what differs between the machines that run the test.
func platform(text string) string {
	return strings.NewReplacer("linux/arm64", "linux/amd64").Replace(text)
}
