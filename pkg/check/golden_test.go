package check_test

import (
	"os"
	"strings"
	"testing"
)

const page = "../../docs/reference/check.md"

// The reference shows what is really printed (UPDATE_GOLDEN=1 writes it anew).
func TestReferenceShowsWhatIsPrinted(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before := newRig(t).crowded(t)
	_, look := before.run(t)
	tried := newRig(t).trying(true)
	result, try := tried.run(t)
	_, try, _ = strings.Cut(try, "Scratch volume\n")
	without := newRig(t).trying(false)
	without.config.User = "csi"
	_, alone := without.run(t)
	_, alone, _ = strings.Cut(alone, "Scratch volume\n")

	want := string(text)
	for name, shown := range map[string]string{"look": look, "try": "Scratch volume\n" + try, "try without NVMe/TCP": "Scratch volume\n" + alone, "report": result.Report()} {
		begin := "<!-- generated: " + name + " -->\n```text\n"
		head, rest, ok := strings.Cut(want, begin)
		_, tail, closed := strings.Cut(rest, "```\n<!-- end -->")
		if !ok || !closed || strings.Count(shown, "\n") < 5 {
			t.Fatalf("no place for %q in %s, or nothing was printed: %s", name, page, shown)
		}
		want = head + begin + platform(shown) + "```\n<!-- end -->" + tail
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s is not up to date: UPDATE_GOLDEN=1 go test ./pkg/check; now printed:\n%s%s%s", page, look, try, result.Report())
	}
}

// platform takes out what differs between the machines that run the test.
func platform(text string) string {
	return strings.NewReplacer("linux/arm64", "linux/amd64").Replace(text)
}
