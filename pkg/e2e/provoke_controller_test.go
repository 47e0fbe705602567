package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

func arrayAway(t *testing.T, r *running) {
	array := startArray(t, rdssim.Options{})
	if err := array.Close(); err != nil {
		t.Fatal(err)
	}
	r.scrape(startController(t, array, nil))
}

func loginRefused(t *testing.T, r *running) {
	array := startArray(t, rdssim.Options{})
	s := startController(t, array, nil)
	r.scrape(s)
	r.later = func() {
		if err := array.Inject(rdssim.Fault{Kind: rdssim.AuthRefused, Count: -1}); err != nil {
			t.Error(err)
		}
		array.Reboot(time.Millisecond) // which ends the connection there is
		go r.try(t, s, "a", 1<<30)
	}
}

func poolFills(t *testing.T, r *running) {
	array := startArray(t, rdssim.Options{Pools: []rdssim.Pool{{Name: "storage-pool", FS: "btrfs", Size: 100 << 30}}})
	fill(t, array, "others", "82G")
	r.scrape(startController(t, array, nil))
	r.later = func() { fill(t, array, "more", "15G") }
}

func fill(t *testing.T, array *rdssim.Array, slot, size string) {
	t.Helper()
	out := array.Run(t.Context(), `/disk add type=file slot="`+slot+`" file-path="/storage-pool/`+slot+`.img" file-size=`+size)
	if strings.TrimSpace(out) != "" {
		t.Errorf("fill the pool: %s", out)
	}
}

func createHangs(t *testing.T, r *running) {
	array := startArray(t, rdssim.Options{})
	s := startController(t, array, nil)
	r.scrape(s)
	if err := array.Inject(rdssim.Fault{Kind: rdssim.Hang, Match: "/disk add", Count: -1}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for t.Context().Err() == nil && s.Running() { // as the provisioner does: a call's own time is up before an operator looks
			r.try(t, s, "a", 1<<30)
		}
	}()
}

func createsFail(t *testing.T, r *running) {
	s := startController(t, startArray(t, rdssim.Options{}), nil)
	r.scrape(s)
	r.later = func() {
		for i := range 12 {
			r.try(t, s, fmt.Sprint("v", i), 1<<50)
			time.Sleep(time.Second) // a rate is of what goes on
		}
	}
}

func figuresFail(t *testing.T, r *running) {
	array := startArray(t, rdssim.Options{})
	r.scrape(startController(t, array, nil))
	r.later = func() {
		if err := array.Inject(rdssim.Fault{Kind: rdssim.Hang, Match: "/disk print", Count: -1}); err != nil {
			t.Error(err)
		}
	}
}

// volumesOfNobody has its API server be that of the cluster whose id startController gives.
func volumesOfNobody(t *testing.T, r *running) {
	api := kubetest.Start(t)
	api.Put(kubetest.KubeSystem, kubetest.Namespace("e2e"))
	api.Answer(kubetest.PVsPath, kubetest.PVs(kubetest.PV("pv-a", "rds.csi.srvlab.io", "rds/"+rds.Slot("e2e", "a"), "default", "a", "uid-a")))
	s := startController(t, startArray(t, rdssim.Options{}), nil, "--kubeconfig="+api.Kubeconfig(t), "--orphan-grace=1s")
	r.scrape(s)
	s.create(t, "a")
	s.create(t, "b")
}

func collectorRefuses(t *testing.T, r *running) {
	env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + program.FreeAddress(t), "OTEL_BSP_SCHEDULE_DELAY=100"}
	s := startController(t, startArray(t, rdssim.Options{}), env)
	r.scrape(s)
	r.later = func() { r.try(t, s, "a", 1<<30) }
}

func nobodyListens(t *testing.T, r *running) { r.targets = append(r.targets, program.FreeAddress(t)) }
