package export

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// scrapeProtobuf scrapes as a Prometheus with native histograms does.
func scrapeProtobuf(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	code, body := get(t, url, string(format))
	if code != 200 {
		t.Fatalf("GET %s: %d", url, code)
	}
	families := map[string]*dto.MetricFamily{}
	for decoder := expfmt.NewDecoder(strings.NewReader(body), format); ; {
		family := &dto.MetricFamily{}
		switch err := decoder.Decode(family); {
		case errors.Is(err, io.EOF):
			return families
		case err != nil:
			t.Fatalf("parse %s: %v", url, err)
		}
		families[family.GetName()] = family
	}
}

// nativeCount is the sum of a histogram's native buckets (client_model, metrics.proto: each
// delta is to the bucket before it).
func nativeCount(h *dto.Histogram) uint64 {
	sum, bucket := h.GetZeroCount(), int64(0)
	for _, delta := range h.GetPositiveDelta() {
		bucket += delta
		sum += uint64(bucket)
	}
	return sum
}

func TestNativeHistogramsStandBesideClassicOnes(t *testing.T) {
	for _, native := range []bool{false, true} {
		setEnv(t)
		tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0", NativeHistograms: native, Collect: NewCollector()})
		url := serve(t, tel)
		ctx, span := tel.Tracer().StartRoot(t.Context(), "mount.recovery")
		for _, took := range []time.Duration{3 * time.Millisecond, 70 * time.Millisecond, 75 * time.Millisecond, time.Hour} {
			tel.Metrics().RecordVolumeOp(ctx, telemetry.OpStage, telemetry.StatusSuccess, nil, took)
		}
		span.End(nil)
		failedCall(t, tel)
		await(t, "the call's metric", func() bool { return scrape(t, url)["rpc_server_call_duration_seconds"] != nil })
		families := scrapeProtobuf(t, url)
		for name, count := range map[string]uint64{"rds_csi_volume_operation_duration_seconds": 4, "rpc_server_call_duration_seconds": 1} {
			h := families[name].GetMetric()[0].GetHistogram()
			if got := len(h.GetBucket()); got < len(telemetry.DurationBuckets()) || h.GetSampleCount() != count {
				t.Errorf("native %v: %s has %d classic buckets and counts %d, want %d", native, name, got, h.GetSampleCount(), count)
			}
			if last := h.GetBucket()[len(telemetry.DurationBuckets())-1]; last.GetUpperBound() != 300 {
				t.Errorf("native %v: %s ends at %v s", native, name, last.GetUpperBound())
			}
			if has := h.Schema != nil; has != native {
				t.Errorf("native %v: %s has a schema: %v", native, name, has)
			}
			if native && (nativeCount(h) != count || h.GetSchema() > nativeScale) {
				t.Errorf("%s: %d in native buckets of schema %d, want %d", name, nativeCount(h), h.GetSchema(), count)
			}
		}
		h := families["rds_csi_volume_operation_duration_seconds"].GetMetric()[0].GetHistogram()
		if (len(h.GetExemplars()) > 0) != native {
			t.Errorf("native %v: exemplars %v", native, h.GetExemplars())
		}
	}
}

// Who reads text must not notice the flag: dashboards and alerts need the classic series.
func TestNativeHistogramsLeaveThePageAsItIs(t *testing.T) {
	pages := map[bool]string{}
	for _, native := range []bool{false, true} {
		setEnv(t)
		tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0", NativeHistograms: native})
		recordOnce(t, tel.Metrics(), telemetry.ComponentBoth)
		_, page := get(t, serve(t, tel), "text/plain")
		pages[native] = histogramLines(page)
	}
	if pages[true] != pages[false] || !strings.Contains(pages[true], `rds_csi_mount_operation_duration_seconds_bucket{operation="mount",status="success",le="1"} 1`) {
		t.Errorf("the pages differ:\n%s", goldentest.Diff(pages[false], pages[true]))
	}
}

func histogramLines(page string) string {
	var lines strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "rds_csi_") && strings.Contains(line, "_seconds") && !strings.Contains(line, "time_seconds") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}
