package charttest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// expand writes each single right in one line: "cluster storage.k8s.io/csinodes get".
func expand(scope string, rules []rbacv1.PolicyRule) (rights []string) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					right := scope + " " + group + "/" + resource + " " + verb
					if len(rule.ResourceNames) > 0 {
						right += " " + strings.Join(rule.ResourceNames, ",")
					}
					rights = append(rights, right)
				}
			}
		}
	}
	slices.Sort(rights)
	return rights
}

// rightsOf are all rights of a service account, by its bindings.
func rightsOf(t *testing.T, o objects, account string) (rights []string) {
	t.Helper()
	for _, binding := range o.clusterBind {
		for _, role := range o.clusterWide {
			if binding.Subjects[0].Name == account && binding.RoleRef.Name == role.Name && binding.RoleRef.Kind == "ClusterRole" {
				rights = append(rights, expand("cluster", role.Rules)...)
			}
		}
	}
	for _, binding := range o.bindings {
		for _, role := range o.roles {
			if binding.Subjects[0].Name == account && binding.RoleRef.Name == role.Name && role.Namespace == binding.Namespace {
				rights = append(rights, expand("namespace", role.Rules)...)
			}
		}
	}
	slices.Sort(rights)
	return rights
}

// driverRights are those that pkg/kube says it needs below a heading: "Controller:", "Node:" or "Node, with --startup-taint only:".
func driverRights(t *testing.T, title string) (rights []string) {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "../../pkg/kube/doc.go"), "// "+title+"\n//\n")
	if !ok {
		t.Fatalf("pkg/kube/doc.go has no %s", title)
	}
	text, _, _ = strings.Cut(text, "//\n")
	row := regexp.MustCompile(`(?m)^//\t(""|\S+)\s{2,}(\S+)\s{2,}(\S+)\s{2,}([a-z, ]+?)\s{2,}(cluster|driver's namespace)\s`)
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		rule := rbacv1.PolicyRule{APIGroups: []string{strings.Trim(m[1], `"`)}, Resources: []string{m[2]}, Verbs: strings.Split(m[4], ", ")}
		if m[3] != "(any)" {
			rule.ResourceNames = []string{m[3]}
		}
		rights = append(rights, expand("cluster", []rbacv1.PolicyRule{rule})...) // the controller has its events in every namespace, as the sidecars do
	}
	if len(rights) < 3 {
		t.Fatalf("only %v was understood of %q", rights, text)
	}
	return rights
}

// notNeeded are rights that the sidecars' own manifests ask for and the chart does not give, and why.
func notNeeded() map[string]string {
	const (
		snapshots = "the driver has no snapshots yet"
		recorder  = "events are created and patched, never read (client-go, tools/record)"
		lock      = "a lease is got, created and updated (client-go, tools/leaderelection/resourcelock)"
	)
	return map[string]string{
		"cluster snapshot.storage.k8s.io/volumesnapshots get":         snapshots,
		"cluster snapshot.storage.k8s.io/volumesnapshots list":        snapshots,
		"cluster snapshot.storage.k8s.io/volumesnapshots watch":       snapshots,
		"cluster snapshot.storage.k8s.io/volumesnapshots update":      snapshots,
		"cluster snapshot.storage.k8s.io/volumesnapshotcontents get":  snapshots,
		"cluster snapshot.storage.k8s.io/volumesnapshotcontents list": snapshots,
		"cluster /events list":                                 recorder,
		"cluster /events watch":                                recorder,
		"cluster /events update":                               recorder,
		"cluster /pods get":                                    "--handle-volume-inuse-error=false",
		"cluster /pods list":                                   "--handle-volume-inuse-error=false",
		"cluster /pods watch":                                  "--handle-volume-inuse-error=false",
		"cluster storage.k8s.io/volumeattributesclasses get":   "the driver modifies no volumes",
		"cluster storage.k8s.io/volumeattributesclasses list":  "the driver modifies no volumes",
		"cluster storage.k8s.io/volumeattributesclasses watch": "the driver modifies no volumes",
		"namespace coordination.k8s.io/leases list":            lock,
		"namespace coordination.k8s.io/leases watch":           lock,
		"namespace coordination.k8s.io/leases delete":          lock,
		"namespace storage.k8s.io/csistoragecapacities patch":  "they are created, updated and deleted (external-provisioner, pkg/capacity)",
	}
}

// The controller has what its sidecars' authors ask for in the pinned versions, less what is not needed here, and what
// the driver needs. A new version of a sidecar that asks for more fails this test.
func TestTheControllerHasTheRightsItNeeds(t *testing.T) {
	o := decode(t, render(t, "--values", valueSets(t)["defaults"]))
	want := driverRights(t, "Controller:")
	less := notNeeded()
	for _, right := range upstreamRights(t, o) {
		if less[right] == "" {
			want = append(want, right)
		}
		delete(less, right)
	}
	for right := range less {
		t.Errorf("%s is left out, and nobody asks for it", right)
	}
	slices.Sort(want)
	compare(t, "the controller", rightsOf(t, o, o.controller(t).Spec.ServiceAccountName), slices.Compact(want))
}

func TestTheNodeHasTheRightsItNeeds(t *testing.T) {
	for set, titles := range map[string][]string{"defaults": {"Node:"}, "places": {"Node:", "Node, with --startup-taint only:"}} {
		o := decode(t, render(t, "--values", valueSets(t)[set]))
		var want []string
		for _, title := range titles {
			want = append(want, driverRights(t, title)...)
		}
		slices.Sort(want)
		compare(t, "the node with the values "+set, rightsOf(t, o, o.node(t).Spec.ServiceAccountName), want)
	}
}

func compare(t *testing.T, who string, got, want []string) {
	t.Helper()
	for _, right := range got {
		if !slices.Contains(want, right) {
			t.Errorf("%s may %q, which it does not need", who, right)
		}
	}
	for _, right := range want {
		if !slices.Contains(got, right) {
			t.Errorf("%s may not %q, which it needs", who, right)
		}
	}
}

// Whatever the values: nobody reads Secrets, and no rule says "all".
func TestNobodyMayReadSecrets(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		for _, account := range o.accounts {
			for _, right := range rightsOf(t, o, account.Name) {
				if strings.Contains(right, "secrets") || strings.Contains(right, "*") {
					t.Errorf("%s may %s", account.Name, right)
				}
			}
		}
	})
}
