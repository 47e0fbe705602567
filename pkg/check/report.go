package check

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Report is what was found as a text that can be attached to a bug report: without addresses, fingerprints
// and ids of machines.
func (r *Result) Report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rds-csi-plugin check\n\ndriver:   %s %s/%s\nkernel:   %s\nRouterOS: %s\n", r.config.Version, runtime.GOOS, runtime.GOARCH,
		cmp.Or(r.kernel, "not known"), cmp.Or(r.array.Version, "not known"))
	if r.array.Board != "" {
		fmt.Fprintf(&b, "board:    %s\n", r.array.Board)
	}
	b.WriteString(r.found.text())
	if r.seen != nil {
		b.WriteString("\nHow the array shows the scratch volume\n")
		for _, property := range r.seen.Properties() {
			fmt.Fprintf(&b, "  %-34s %s\n", property, r.seen.Types[property])
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.found.summary())
	return r.redact(b.String())
}

// What tells by itself where something is: a key's fingerprint, an address. Whether the latter is one is asked of netip.
var (
	fingerprint    = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}=?`)
	perhapsAddress = regexp.MustCompile(`[][0-9A-Fa-f.:]*[.:][][0-9A-Fa-f.:]*`)
)

// redact replaces what is configured first, the longest first: an address may be part of another text.
func (r *Result) redact(text string) string {
	secrets := slices.SortedFunc(maps.Keys(r.config.Secrets), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, secret := range secrets {
		text = replaceWord(text, secret, r.config.Secrets[secret])
	}
	text = fingerprint.ReplaceAllString(text, "SHA256:<fingerprint>")
	return perhapsAddress.ReplaceAllStringFunc(text, withoutAddress)
}

func withoutAddress(word string) string {
	bare := strings.TrimRight(word, ".:")
	if _, err := netip.ParseAddrPort(bare); err == nil {
		return "<address>" + word[len(bare):]
	}
	if _, err := netip.ParseAddr(strings.Trim(bare, "[]")); err == nil {
		return "<address>" + word[len(bare):]
	}
	return word
}

// replaceWord leaves alone what is only a part of another word: an array may be called rds.
func replaceWord(text, word, with string) string {
	if word == "" {
		return text
	}
	var b strings.Builder
	for {
		i := strings.Index(text, word)
		if i < 0 {
			return b.String() + text
		}
		after := text[i+len(word):]
		if i > 0 && inWord(text[i-1]) || after != "" && inWord(after[0]) {
			b.WriteString(text[:i+1])
			text = text[i+1:]
			continue
		}
		b.WriteString(text[:i] + with)
		text = after
	}
}

func inWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
