package routeros

import (
	"slices"
	"strings"
	"testing"
)

// fixed is a script with a known nonce.
var fixed = script{nonce: "N"}

func TestScan(t *testing.T) {
	tests := []struct {
		name, raw                 string
		value                     string // of key "row"
		ok, ended, garbled, fails bool
		stray                     []string
	}{
		{name: "whole", raw: "@@N row=1@@N.\n@@N ok=1\n@@N end=1\n", value: "1", ok: true, ended: true},
		{name: "CR LF, padding, blank lines", raw: "\r\n@@N row=1 @@N.    \r\n@@N ok=1   \r\n@@N end=1  \r\n\r\n", value: "1 ", ok: true, ended: true},
		{name: "no line end at the end", raw: "@@N row=1@@N.\n@@N end=1", value: "1", ended: true},
		{name: "wrapped", raw: "@@N row=ab\r\ncd\r\nef@@N.\r\n@@N end=1\r\n", value: "abcdef", ended: true},
		{name: "mark wrapped", raw: "@@N row=ab@\r\n@N\r\n.  \r\n@@N end=1", value: "ab", ended: true},
		{name: "equals signs, sentinels of others", raw: "@@N row=a=b @@M end=1@@N.\n@@N end=1", value: "a=b @@M end=1", ended: true},
		{name: "empty", raw: ""},
		{name: "half a sentinel", raw: "@@N ok=1\n@@N end=", ok: true, garbled: true},
		{name: "half a value", raw: "@@N row={\"slot\":", garbled: true},
		{name: "value cut by the next one", raw: "@@N row=ab\n@@N row=cd@@N.\n@@N end=1", value: "cd", ended: true, garbled: true},
		{name: "keyless", raw: "@@N what\n@@N end=1", ended: true, garbled: true},
		{name: "error", raw: "@@N err=no such item (4)@@N.\n@@N end=1", ended: true, fails: true},
		{name: "stray", raw: "bad command name foo (line 1 column 1)  \r\n@@N end=1", ended: true, stray: []string{"bad command name foo (line 1 column 1)"}},
		{name: "an echo is not kept", raw: ":put \"@@N end=1\"\n> @@N end=1\n"},
		{name: "sentinel of another exec", raw: "@@M end=1\n", stray: []string{"@@M end=1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := scan(fixed, tt.raw)
			if value, _ := got.reply.Value("row"); value != tt.value {
				t.Errorf("value = %q, want %q", value, tt.value)
			}
			if got.ok != tt.ok || got.ended != tt.ended || got.garbled != tt.garbled || got.failed != tt.fails {
				t.Errorf("ok %t ended %t garbled %t failed %t", got.ok, got.ended, got.garbled, got.failed)
			}
			if !slices.Equal(got.stray, tt.stray) {
				t.Errorf("stray = %q, want %q", got.stray, tt.stray)
			}
		})
	}
}

func TestScanBoundsStrayLines(t *testing.T) {
	got := scan(fixed, strings.Repeat(strings.Repeat("x", 10_000)+"\x1b\n", 1000))
	if len(got.stray) != strayLines {
		t.Errorf("%d stray lines kept", len(got.stray))
	}
	for _, line := range got.stray {
		if len(line) > strayWidth+len("…") {
			t.Errorf("a stray line of %d bytes was kept", len(line))
		}
	}
}

// Whatever the value and the width at which the console wraps and pads, it comes back.
func FuzzParseReply(f *testing.F) {
	f.Add("row", `[{"slot":"csi-1"}]`, 80, "noise")
	f.Add("n", "", 20, "\x00@@N")
	f.Add("err", "@@N end=1", 11, "@@N row=1")
	f.Fuzz(func(t *testing.T, key, value string, width int, noise string) {
		scan(fixed, noise)
		scan(fixed, noise+key+"="+value+"\n"+noise)
		if width < 20 || !fitKey(key) || strings.ContainsAny(value, "\r\n") || strings.Contains(value, "@@N") {
			return
		}
		raw := wrap("@@N "+key+"="+value+"@@N.", width) + wrap("@@N ok=1", width) + wrap("@@N end=1", width)
		got := scan(fixed, raw)
		if !got.ended || !got.ok || got.garbled {
			t.Fatalf("ended %t ok %t garbled %t: %q", got.ended, got.ok, got.garbled, raw)
		}
		if back, _ := got.reply.Value(key); back != value {
			t.Fatalf("%q came back as %q: %q", value, back, raw)
		}
		if cut := scan(fixed, strings.TrimRight(raw, "1 \r\n")); cut.ended {
			t.Fatal("a reply without its last byte counts as complete")
		}
	})
}

func fitKey(key string) bool {
	return key != "" && len(key) < 10 && !strings.ContainsAny(key, "=\r\n ") &&
		!slices.Contains([]string{keyVersion, keyBoard, keyError, "ok", "end"}, key)
}

func wrap(line string, width int) string {
	var b strings.Builder
	for len(line) > width {
		b.WriteString(line[:width] + "\r\n")
		line = line[width:]
	}
	return b.String() + line + strings.Repeat(" ", min(width, 200)-min(width, 200, len(line))) + "\r\n"
}
