package faulttest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault/faulttest"
)

func TestNoKindIsMissing(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../kind.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []fault.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared = append(declared, fault.Kind(text))
		return false
	})
	if len(declared) < 10 || !slices.Equal(declared, faulttest.Kinds()) {
		t.Errorf("declared %v, listed %v", declared, faulttest.Kinds())
	}
}
