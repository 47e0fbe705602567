package vm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// report keeps the lines that come from a guest, and prints them as they come.
type report struct {
	prefix string
	out    io.Writer // nil: nowhere
	mu     sync.Mutex
	lines  []string
}

func newReport(prefix string, out io.Writer) *report { return &report{prefix: prefix, out: out} }

func (r *report) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.add(strings.TrimRight(line, "\r\n"))
		}
		if err != nil { // qemu is gone; whether too early is seen by the missing code
			return
		}
	}
}

func (r *report) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	if r.out != nil {
		fmt.Fprintln(r.out, r.prefix+line)
	}
}

// value is what follows a key on its line.
func (r *report) value(key string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range slices.Backward(r.lines) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return value, true
		}
	}
	return "", false
}

// failed names the tests that failed.
func (r *report) failed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, line := range r.lines {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			names = append(names, name)
		}
	}
	return names
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// trouble is what a kernel in order never says.
var trouble = regexp.MustCompile(`BUG:|Oops|WARNING:|Call Trace|hung task|blocked for more than|general protection|Kernel panic`)

// complaints are those of the kernel, with what it said around the first.
func (m *machine) complaints() []string {
	data, err := os.ReadFile(m.console)
	if err != nil {
		return []string{err.Error()}
	}
	var list []string
	lines := strings.Split(string(data), "\n")
	if at := slices.IndexFunc(lines, trouble.MatchString); at >= 0 {
		list = append(list, "the kernel said\n"+strings.Join(lines[max(0, at-5):min(len(lines), at+60)], "\n"))
	}
	if !strings.Contains(string(data), "Linux version "+m.kernel+".") {
		list = append(list, "this was no kernel "+m.kernel+":\n"+lastLines(m.console, 20))
	}
	return list
}
