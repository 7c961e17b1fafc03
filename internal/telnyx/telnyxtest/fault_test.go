package telnyxtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Whoever goes through all shapes misses none that is added.
func TestShapesAreAllOfThem(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Shape" {
				declared++
			}
		}
		return true
	})
	if n := len(telnyxtest.Shapes()); declared == 0 || n != declared {
		t.Errorf("Shapes returns %d, and %d are declared", n, declared)
	}
}
