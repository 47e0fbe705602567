package export

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	barWidth   = 40
	maxFailure = 120
)

// Trace is the spans of one trace.
type Trace struct {
	ID    string
	steps []step
}

// row is one line of a waterfall.
type row struct {
	step
	label string // the name with its branch of the tree
}

// Waterfall draws the trace: one line for each span with its offset and duration in
// milliseconds, its place in the tree and in time, and below it why it failed.
func (t Trace) Waterfall(w io.Writer) error {
	rows := t.rows()
	if len(rows) == 0 {
		_, err := fmt.Fprintf(w, "trace %s, spans: 0\n", t.ID)
		return err
	}
	start, end := bounds(rows)
	width := 0
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r.label))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "trace %s, %.1f ms, spans: %d\n", t.ID, milliseconds(end.Sub(start)), len(rows))
	fmt.Fprintf(&out, "%9s %9s\n", "start ms", "took ms")
	for _, r := range rows {
		fmt.Fprintf(&out, "%9.1f %9.1f  %-*s  %s\n", milliseconds(r.start.Sub(start)), milliseconds(r.end.Sub(r.start)),
			width, r.label, bar(r.start.Sub(start), r.end.Sub(start), end.Sub(start)))
		if r.failure != "" {
			fmt.Fprintf(&out, "%19s  ✗ %s\n", "", r.failure)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// rows gives the spans in the order of the tree: children below their parent, by start.
func (t Trace) rows() []row {
	known := map[trace.SpanID]bool{}
	for _, s := range t.steps {
		known[s.id] = true
	}
	children := map[trace.SpanID][]step{}
	for _, s := range t.steps {
		parent := s.parent
		if !known[parent] {
			parent = trace.SpanID{} // a root here: its parent is elsewhere, or not over yet
		}
		children[parent] = append(children[parent], s)
	}
	for _, siblings := range children {
		slices.SortStableFunc(siblings, func(a, b step) int { return cmp.Or(a.start.Compare(b.start), a.end.Compare(b.end)) })
	}
	return below(children, trace.SpanID{}, "")
}

// below gives the rows of parent's children; indent is what stands before their branches.
func below(children map[trace.SpanID][]step, parent trace.SpanID, indent string) []row {
	var rows []row
	siblings := children[parent]
	for i, s := range siblings {
		branch, deeper := "├─ ", "│  "
		switch {
		case !parent.IsValid():
			branch, deeper = "", ""
		case i == len(siblings)-1:
			branch, deeper = "└─ ", "   "
		}
		rows = append(rows, row{step: s, label: indent + branch + s.name})
		rows = append(rows, below(children, s.id, indent+deeper)...)
	}
	return rows
}

func bounds(rows []row) (start, end time.Time) {
	start, end = rows[0].start, rows[0].end
	for _, r := range rows {
		if r.start.Before(start) {
			start = r.start
		}
		if r.end.After(end) {
			end = r.end
		}
	}
	return start, end
}

// bar draws from..to of total; the shortest is one cell wide.
func bar(from, to, total time.Duration) string {
	if total <= 0 {
		return "━"
	}
	first := min(int(from*barWidth/total), barWidth-1)
	last := max(int((to*barWidth+total-1)/total), first+1)
	return strings.Repeat(" ", first) + strings.Repeat("━", last-first)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// failureOf is "error.type: description" of a failed span, on one line.
func failureOf(span sdktrace.ReadOnlySpan) string {
	if span.Status().Code != codes.Error {
		return ""
	}
	kind := "error"
	for _, attr := range span.Attributes() {
		if attr.Key == "error.type" {
			kind = attr.Value.AsString()
		}
	}
	text := kind + ": " + span.Status().Description
	return cut(strings.Map(printable, text), maxFailure)
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
