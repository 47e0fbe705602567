package routeros

import (
	"crypto/rand"
	"strings"
)

// Put builds the statement that prints the value of expression under key. The expression must
// be a single scalar operand (a literal, a variable, or […]): `.` distributes over arrays.
type Put func(key, expression string) string

// Body writes what an exec does: one line of console text, statements joined by "; ". Its keys
// contain neither "=" nor a space; ver, board, err, ok and end are taken.
type Body func(put Put) string

// The keys of the wrapper.
const (
	keyVersion = "ver"
	keyBoard   = "board"
	keyError   = "err"
	lineOK     = "ok=1"
	lineEnd    = "end=1"
)

// script is the text of one exec and what its reply is recognised by.
type script struct {
	nonce string
	text  string
}

// newScript wraps a body. Each line is a console command of its own, so that a body that
// does not parse takes down neither the version nor the sentinel (facts/routeros.md §4.1, §4.5).
func newScript(body Body) script {
	s := script{nonce: rand.Text()[:16]}
	s.text = strings.Join([]string{
		s.put(keyVersion, "[/system/resource get version]"),
		s.put(keyBoard, "[/system/resource get board-name]"),
		":onerror rdsE in={" + body(s.put) + `; :put "` + s.prefix() + lineOK + `"} do={` + s.put(keyError, "[:tostr $rdsE]") + "}",
		`:put "` + s.prefix() + lineEnd + `"`,
	}, "\n")
	return s
}

// prefix begins every keyed line.
func (s script) prefix() string { return "@@" + s.nonce + " " }

// mark ends every value: a line may be padded or wrapped, and a value may hold anything.
func (s script) mark() string { return "@@" + s.nonce + "." }

func (s script) put(key, expression string) string {
	return `:put ("` + s.prefix() + key + `=" . ` + expression + ` . "` + s.mark() + `")`
}
