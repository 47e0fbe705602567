package export

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errUnavailable = status.Error(codes.Unavailable, "the array cannot be reached")

// promised is a row of the contract's table.
type promised struct {
	kind   dto.MetricType
	labels []string
	later  bool
}

func contract(t *testing.T) map[string]promised {
	t.Helper()
	text, err := os.ReadFile("testdata/contract.tsv")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]dto.MetricType{
		"C": dto.MetricType_COUNTER, "H": dto.MetricType_HISTOGRAM, "U": dto.MetricType_GAUGE, "G": dto.MetricType_GAUGE,
	}
	rows := map[string]promised{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		var labels []string
		if fields[2] != "" {
			labels = strings.Split(fields[2], ",")
		}
		slices.Sort(labels)
		rows[fields[0]] = promised{kinds[fields[1]], labels, fields[3] == "later"}
	}
	return rows
}

// checkContract compares what was scraped with the table: names, types and labels; with
// all, every built family must be there.
func checkContract(t *testing.T, families map[string]*dto.MetricFamily, all bool) {
	t.Helper()
	rows := contract(t)
	for name, row := range rows {
		family := families[name]
		switch {
		case family == nil:
			if all && !row.later {
				t.Errorf("%s is missing", name)
			}
			continue
		case row.later:
			t.Errorf("%s is there and not built yet", name)
		case family.GetType() != row.kind:
			t.Errorf("%s is a %v, want %v", name, family.GetType(), row.kind)
		}
		if labels := slices.Sorted(maps.Keys(labelValues(family))); !slices.Equal(labels, row.labels) {
			t.Errorf("%s has labels %v, want %v", name, labels, row.labels)
		}
	}
	for name := range families {
		_, listed := rows[name]
		foreign := name == "target_info" || strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
		if !listed && !foreign {
			t.Errorf("%s is not in the contract", name)
		}
	}
}
