package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/check"
)

// reportToStdout is for where no file can be made, as in the driver's pods.
const reportToStdout = "-"

// run opens the report first: it must not fail when all is done.
func (o *checkOptions) run(ctx context.Context, c check.Config, stdout io.Writer) error {
	report, err := o.openReport(stdout)
	if err != nil {
		return err
	}
	result := check.Run(ctx, c, stdout)
	if report != nil {
		_, err = io.WriteString(report, result.Report())
		err = errors.Join(err, report.Close())
	}
	if !result.OK() {
		err = errors.Join(fmt.Errorf("check: %s", result.Summary()), err)
	}
	return err
}

// openReport gives nil where none is wanted.
func (o *checkOptions) openReport(stdout io.Writer) (io.WriteCloser, error) {
	switch o.report {
	case "":
		return nil, nil
	case reportToStdout:
		return afterAll{stdout}, nil
	}
	report, err := os.OpenFile(o.report, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, usageError{fmt.Errorf("--report: %w; give the name of a new file, or - for stdout", err)}
	}
	return report, nil
}

// afterAll is stdout, which is not check's to close, with an empty line before the report.
type afterAll struct{ io.Writer }

func (a afterAll) Write(p []byte) (int, error) {
	if _, err := io.WriteString(a.Writer, "\n"); err != nil {
		return 0, err
	}
	return a.Writer.Write(p)
}

func (afterAll) Close() error { return nil }
