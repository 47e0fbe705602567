package routeros

import (
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// The texts of facts/routeros.md §4.3.
func TestConsoleErrorCatalogue(t *testing.T) {
	tests := []struct {
		said   string
		reason fault.Reason
		advice string
	}{
		{"not enough permissions (9)", fault.RouterOSRejected, "policy=ssh,read,write"},
		{"std failure: not allowed (9)", fault.RouterOSRejected, "group of user csi"},
		{"no such item (4)", fault.ReasonNotFound, ""},
		{"failure: not enough space", fault.ReasonNoSpace, "free space"},
		{"failure: No space left on device", fault.ReasonNoSpace, "free space"},
		{"failure: already have such entry", fault.ReasonConflict, ""},
		{"failure: file already exists", fault.ReasonConflict, ""},
		{"could not unmount, stop using it first", fault.ReasonBusy, "stop what uses it"},
		{"syntax error (line 1 column 7)", fault.RouterOSRejected, "7.21"},
		{"bad command name btrfs (line 1 column 7)", fault.RouterOSRejected, "rose-storage"},
		{"bad parameter nvme-tcp-server-nqn (line 1 column 9)", fault.RouterOSRejected, "7.21"},
		{"expected end of command (line 1 column 3)", fault.RouterOSRejected, "7.21"},
		{"input does not match any value of type", fault.RouterOSRejected, "7.21"},
		{"invalid value for argument file-size", fault.RouterOSRejected, "a value"},
		{"failure: chunk out of file bounds", fault.RouterOSRejected, ""},
		{"leftover file (:error; line 1)", fault.RouterOSRejected, ""},
	}
	for _, tt := range tests {
		t.Run(tt.said, func(t *testing.T) {
			err := consoleError("csi", "7.24.4 (stable)", tt.said)
			if fault.ReasonOf(err) != tt.reason {
				t.Errorf("reason %s, want %s", fault.ReasonOf(err), tt.reason)
			}
			for _, part := range []string{tt.said, tt.advice, "7.24.4 (stable)"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

func TestParseErrorWithoutKnownTextIsUnknown(t *testing.T) {
	for _, said := range []string{"", "interrupted"} {
		if err := parseError("csi", "", said); fault.KindOf(err) != fault.UnknownOutcome {
			t.Errorf("%q: kind %s of %v", said, fault.KindOf(err), err)
		}
	}
	if err := parseError("csi", "", "syntax error (line 1 column 2)"); fault.ReasonOf(err) != fault.RouterOSRejected {
		t.Errorf("a parse error is %s", fault.ReasonOf(err))
	}
}

func TestConsoleErrorIsBounded(t *testing.T) {
	err := consoleError("csi", "", "failure: "+strings.Repeat("x\x1b[2J\r\n", 1000))
	if text := err.Error(); len(text) > failureWidth+100 || strings.ContainsAny(text, "\x1b\r\n") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}
