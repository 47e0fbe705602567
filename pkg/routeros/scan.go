package routeros

import "strings"

// strayLines and strayWidth bound what is kept of lines that are not ours.
const (
	strayLines = 16
	strayWidth = 200
)

// scanned is what came back for a script.
type scanned struct {
	reply   *Reply
	ok      bool // the body ran to its end
	ended   bool // the sentinel came
	garbled bool // a value lacks its end
	failure string
	failed  bool
	stray   []string
}

// scanner walks the lines of a reply. They end with CR LF, are padded with spaces on the right,
// and may be wrapped in the middle of a value (facts/routeros.md §1.4, §4.1).
type scanner struct {
	script script
	lines  []string
	out    scanned
}

func scan(s script, raw string) scanned {
	sc := &scanner{script: s, lines: strings.Split(raw, "\n")}
	sc.out.reply = &Reply{values: map[string][]string{}}
	for len(sc.lines) > 0 {
		sc.entry(sc.next())
	}
	return sc.out
}

func (sc *scanner) next() string {
	line := strings.TrimRight(sc.lines[0], "\r")
	sc.lines = sc.lines[1:]
	return line
}

func (sc *scanner) entry(line string) {
	rest, ours := strings.CutPrefix(line, sc.script.prefix())
	key, value, keyed := strings.Cut(rest, "=")
	switch plain := strings.TrimRight(rest, " "); {
	case !ours:
		sc.keepStray(line)
	case plain == lineOK:
		sc.out.ok = true
	case plain == lineEnd:
		sc.out.ended = true
	case !keyed:
		sc.out.garbled = true
	default:
		sc.value(key, value)
	}
}

// value reads on until the mark, over line breaks: they are the console's, not the value's.
func (sc *scanner) value(key, first string) {
	var b strings.Builder
	b.WriteString(first)
	for seen := 0; ; {
		if i := strings.Index(b.String()[seen:], sc.script.mark()); i >= 0 {
			sc.store(key, b.String()[:seen+i])
			return
		}
		if len(sc.lines) == 0 || strings.HasPrefix(sc.lines[0], sc.script.prefix()) {
			sc.out.garbled = true
			return
		}
		seen = max(0, b.Len()-len(sc.script.mark())) // the mark itself may be wrapped
		b.WriteString(sc.next())
	}
}

func (sc *scanner) store(key, value string) {
	switch key {
	case keyVersion:
		sc.out.reply.Version = value
	case keyBoard:
		sc.out.reply.Board = value
	case keyError:
		sc.out.failure, sc.out.failed = value, true
	default:
		sc.out.reply.values[key] = append(sc.out.reply.values[key], value)
	}
}

// keepStray keeps what the console says by itself, such as the text of a parse error. An echo
// of the script is left out: command text stands in no error.
func (sc *scanner) keepStray(line string) {
	line = strings.TrimSpace(line)
	if line == "" || len(sc.out.stray) == strayLines || strings.Contains(line, sc.script.nonce) {
		return
	}
	sc.out.stray = append(sc.out.stray, printable(line, strayWidth))
}

// printable cuts s and replaces what would garble a log line.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
