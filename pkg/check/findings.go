package check

import (
	"fmt"
	"strings"
	"unicode"
)

// Level is how a finding came out.
type Level string

// The levels.
const (
	OK      Level = "OK"
	Warning Level = "warning" // the driver works, with less than all
	Failed  Level = "failed"
	Skipped Level = "skipped" // it could not be looked at, which is no fault
)

// Finding is one sentence on one thing.
type Finding struct {
	Level   Level
	Subject string
	Text    string
	Fix     string // what the administrator can do, "" where there is nothing to do
}

// String is the finding as it is printed: one line, and one for the fix.
func (f Finding) String() string {
	text := fmt.Sprintf("  %-8s %s: %s\n", f.Level, f.Subject, oneLine(f.Text))
	if f.Fix != "" {
		text += fmt.Sprintf("  %-8s fix: %s\n", "", oneLine(f.Fix))
	}
	return text
}

// oneLine: what an error quotes may have line breaks, and a name on the array what a terminal obeys.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

// Difference is an answer of the array that is not the one the driver counts on.
type Difference struct {
	What        string // "it refuses a list of allowed hosts"
	Consequence string
	Setting     string // what to set, or to leave alone
}

func (d Difference) text() string {
	return "answers differently from what the driver assumes: " + d.What + ". Consequence: " + d.Consequence
}

// findings collects, and shows each at once.
type findings struct {
	all  []any // Finding, or a title
	show func(text string)
}

func (f *findings) title(text string) {
	if len(f.all) > 0 {
		f.show("\n")
	}
	f.all = append(f.all, text)
	f.show(text + "\n")
}

func (f *findings) add(level Level, subject, fix, format string, args ...any) {
	found := Finding{Level: level, Subject: subject, Text: fmt.Sprintf(format, args...), Fix: fix}
	f.all = append(f.all, found)
	f.show(found.String())
}

func (f *findings) ok(subject, format string, args ...any) { f.add(OK, subject, "", format, args...) }
func (f *findings) skip(subject, format string, args ...any) {
	f.add(Skipped, subject, "", format, args...)
}

func (f *findings) differs(level Level, subject string, d Difference) {
	f.add(level, subject, d.Setting, "%s", d.text())
}

func (f *findings) count(level Level) int {
	n := 0
	for _, one := range f.all {
		if found, ok := one.(Finding); ok && found.Level == level {
			n++
		}
	}
	return n
}

func (f *findings) summary() string {
	return fmt.Sprintf("%d OK, %d warnings, %d failed, %d skipped", f.count(OK), f.count(Warning), f.count(Failed), f.count(Skipped))
}

// text is all of it.
func (f *findings) text() string {
	var b strings.Builder
	for _, one := range f.all {
		switch one := one.(type) {
		case string:
			b.WriteString("\n" + one + "\n")
		case Finding:
			b.WriteString(one.String())
		}
	}
	return b.String()
}

// failedFor tells whether something failed for a subject.
func (f *findings) failedFor(subject string) bool {
	for _, one := range f.all {
		if found, ok := one.(Finding); ok && found.Subject == subject && found.Level == Failed {
			return true
		}
	}
	return false
}
