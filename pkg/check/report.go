package check

import (
	"cmp"
	"fmt"
	"maps"
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

// What stands for itself in any text: a machine's address, a key's fingerprint.
var (
	ipv4        = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?`)
	ipv6        = regexp.MustCompile(`\[?\b[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{0,4}){3,7}\b\]?(:\d+)?`)
	fingerprint = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}=?`)
)

// redact replaces what is configured first, the longest first: an address may be part of another text.
func (r *Result) redact(text string) string {
	secrets := slices.SortedFunc(maps.Keys(r.config.Secrets), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, secret := range secrets {
		text = replaceWord(text, secret, r.config.Secrets[secret])
	}
	text = fingerprint.ReplaceAllString(text, "SHA256:<fingerprint>")
	text = ipv4.ReplaceAllString(text, "<address>")
	return ipv6.ReplaceAllString(text, "<address>")
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
