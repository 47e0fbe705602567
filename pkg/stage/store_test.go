package stage_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

func open(t *testing.T) (*stage.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stage")
	store, err := stage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store, dir
}

func TestRecordsSurviveReopening(t *testing.T) {
	store, dir := open(t)
	want := &stage.Record{VolumeID: "rds/csi-1", NQN: "nqn.x:csi-1.00000001", Format: stage.Formatting, Context: map[string]string{"nqn": "x"}}
	want.SetTarget(stage.Target{Path: "/a", ReadOnly: true})
	want.SetTarget(stage.Target{Path: "/b"})
	want.SetTarget(stage.Target{Path: "/a"})
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	again, err := stage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, found, err := again.Load("rds/csi-1")
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if a, ok := got.Target("/a"); !ok || a.ReadOnly {
		t.Errorf("target /a = %+v, %v", a, ok)
	}
	if list, err := again.List(); err != nil || len(list) != 1 {
		t.Errorf("list = %v, %v", list, err)
	}
}

func TestAbsentIsNotUnreadable(t *testing.T) {
	store, dir := open(t)
	if _, found, err := store.Load("none"); found || err != nil {
		t.Errorf("absent: found %v, %v", found, err)
	}
	if err := store.Delete("none"); err != nil {
		t.Errorf("delete of nothing: %v", err)
	}
	if err := store.Save(&stage.Record{VolumeID: "v"}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Load("v"); err == nil {
		t.Error("a damaged record was taken for none")
	}
	if err := store.Save(&stage.Record{VolumeID: "w"}); err != nil {
		t.Fatal(err)
	}
	list, err := store.List()
	if err == nil {
		t.Error("a damaged record was left out of the list")
	}
	if len(list) != 1 || list[0].VolumeID != "w" {
		t.Errorf("beside a damaged record: %+v", list)
	}
}

func TestFailedSaveKeepsTheOldRecordAndLeavesNothing(t *testing.T) {
	store, dir := open(t)
	if err := store.Save(&stage.Record{VolumeID: "v", NQN: "old"}); err != nil {
		t.Fatal(err)
	}
	// A directory in the place of the record makes the rename fail, whoever runs the test.
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if err := os.Rename(files[0], files[0]+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(files[0], "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(&stage.Record{VolumeID: "v", NQN: "new"}); err == nil {
		t.Fatal("saving over a directory succeeded")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDeleteForgets(t *testing.T) {
	store, _ := open(t)
	if err := store.Save(&stage.Record{VolumeID: "v"}); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete("v"); err != nil {
		t.Fatal(err)
	}
	if _, found, err := store.Load("v"); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
}
