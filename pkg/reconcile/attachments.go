package reconcile

import (
	"context"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

const (
	// attachmentsInterval is the pace of asking Kubernetes about attachments.
	attachmentsInterval = 10 * time.Second
	// attachmentsTimeout bounds one round of questions; what it leaves out is asked in the next.
	attachmentsTimeout = time.Minute
)

// AttachedVolumes are those staged on this node, as far as Kubernetes' attachments go. *driver.Staged fits.
type AttachedVolumes interface {
	AskKubernetes(ctx context.Context) error
}

// Attachments has Kubernetes asked, now and then, which volumes are still attached to this node. It is a loop
// of its own, so that an API server that hangs delays no look at a volume.
type Attachments struct {
	volumes AttachedVolumes
	log     *zap.Logger
	cause   fault.Reason // why the last round failed, to say it once: its text names another volume each time
}

// NewAttachments makes the loop. Nothing happens before Run.
func NewAttachments(volumes AttachedVolumes, log *zap.Logger) *Attachments {
	return &Attachments{volumes: volumes, log: log}
}

// Run asks until ctx ends.
func (a *Attachments) Run(ctx context.Context) {
	for {
		a.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(attachmentsInterval):
		}
	}
}

func (a *Attachments) ask(ctx context.Context) {
	round, cancel := context.WithTimeout(ctx, attachmentsTimeout)
	defer cancel()
	err := a.volumes.AskKubernetes(round)
	switch {
	case err == nil && a.cause != "":
		a.log.Info("Kubernetes tells again which volumes are attached to this node")
		a.cause = ""
	case err != nil && ctx.Err() == nil && a.cause != fault.ReasonOf(err):
		a.cause = fault.ReasonOf(err)
		a.log.Warn("Kubernetes does not tell of all volumes whether they are attached to this node: those that are lost are not released by themselves",
			zap.Error(err))
	}
}
