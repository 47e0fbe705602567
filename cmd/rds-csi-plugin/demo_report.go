package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/export"
)

// traceGrace is how long the demo waits for the span of a call that has been answered.
const traceGrace = 5 * time.Second

// report tells what happens: line by line for people, or one document at the end for programs.
type report struct {
	out    io.Writer
	asJSON bool
	doc    document
}

// document is what --json prints.
type document struct {
	OK         bool       `json:"ok"`
	DataPath   string     `json:"data_path"`
	LeftOut    string     `json:"left_out,omitempty"`
	Steps      []stepDone `json:"steps"`
	MetricsURL string     `json:"metrics_url"`
	TraceID    string     `json:"trace_id"`
	Error      string     `json:"error,omitempty"`
}

type stepDone struct {
	RPC  string  `json:"rpc"`
	Code string  `json:"code"`
	MS   float64 `json:"ms"`
}

func newReport(o *demoOptions, path dataPath, out io.Writer) *report {
	return &report{out: out, asJSON: o.asJSON, doc: document{DataPath: path.name, LeftOut: path.leftOut, Steps: []stepDone{}}}
}

func (r *report) say(format string, args ...any) {
	if !r.asJSON {
		fmt.Fprintf(r.out, format, args...)
	}
}

func (r *report) begin(w *world) {
	r.say("A volume's whole life on a simulated array (RouterOS %s at %s), data path: %s\n", demoVersion, w.array.SSHAddr(), r.doc.DataPath)
	if r.doc.LeftOut != "" {
		r.say("Left out: %s.\n", r.doc.LeftOut)
	}
	r.say("\n")
}

// step runs one step and tells how it went.
func (r *report) step(ctx context.Context, s step) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted before %s", s.rpc)
	}
	start := time.Now()
	note, err := s.run(ctx)
	took := float64(time.Since(start).Microseconds()) / 1000
	code := status.Code(err).String()
	r.doc.Steps = append(r.doc.Steps, stepDone{RPC: s.rpc, Code: code, MS: took})
	r.say("  %-26s %-8s %9.1f ms  %s\n", s.rpc, code, took, note)
	if err != nil {
		return fmt.Errorf("%s: %s: %s", s.rpc, code, status.Convert(err).Message())
	}
	return nil
}

// trace shows where the time of the slowest call went.
func (r *report) trace(ctx context.Context, w *world) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceGrace)
	defer cancel()
	r.doc.MetricsURL = w.process.telemetry.MetricsURL()
	root := "csi.v1.Node/NodeStageVolume"
	if r.doc.DataPath == pathNone {
		root = "csi.v1.Controller/CreateVolume"
	}
	found, err := w.collector.Await(ctx, root)
	if err != nil {
		r.say("\nNo trace of %s: %v\n", root, err)
		return
	}
	r.doc.TraceID = found.ID
	r.say("\nWhere the time of %s went:\n\n", root)
	if !r.asJSON {
		r.waterfall(found)
	}
	r.where()
}

func (r *report) waterfall(t export.Trace) {
	if err := t.Waterfall(r.out); err != nil {
		r.say("the trace cannot be shown: %v\n", err)
	}
}

func (r *report) where() {
	r.say("\nMetrics: %s\n", orNone(r.doc.MetricsURL))
	r.say("Traces to Jaeger, Tempo or a collector: set OTEL_EXPORTER_OTLP_ENDPOINT, such as http://localhost:4317.\n")
}

func orNone(url string) string {
	if url == "" {
		return "none (--metrics-address is empty, or it could not be bound; --log-level warn says why)"
	}
	return url
}

func (r *report) stay() {
	r.say("\nStaying up (--keep). Ctrl-C ends it.\n")
}

// finish ends the report with what became of it all.
func (r *report) finish(err error) error {
	r.doc.OK = err == nil
	if err != nil {
		r.doc.Error = err.Error()
	}
	if r.asJSON {
		encoder := json.NewEncoder(r.out)
		encoder.SetIndent("", "  ")
		return errors.Join(err, encoder.Encode(r.doc))
	}
	if err == nil {
		r.say("\nDone; nothing was left behind.\n")
	}
	return err
}
