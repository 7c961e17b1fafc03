package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
)

// A mutant is a source file with one change.
type mutant struct {
	file     string
	line     int
	was, now string
	source   []byte
}

func (m mutant) String() string { return fmt.Sprintf("%s:%d: %s -> %s", m.file, m.line, m.was, m.now) }

// bounds are the comparisons that differ by the bound alone.
var bounds = map[token.Token]token.Token{token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR}

// mutants are those of a file, or of the source that is given as what it holds: of each
// condition of a switch without a value the contrary, of each part of one that is an && or
// an || the contrary too, and of each comparison the one whose bound is moved by one.
func mutants(file string, source []byte) ([]mutant, error) {
	if source == nil {
		var err error
		if source, err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, 0)
	if err != nil {
		return nil, err
	}
	var all []mutant
	change := func(e ast.Expr, from, to token.Pos, now string) {
		first, last := files.Position(from).Offset, files.Position(to).Offset
		all = append(all, mutant{
			file: file, line: files.Position(e.Pos()).Line, was: string(source[files.Position(e.Pos()).Offset:files.Position(e.End()).Offset]),
			now: now, source: slices.Concat(source[:first], []byte(now), source[last:]),
		})
	}
	var condition func(ast.Expr)
	condition = func(e ast.Expr) {
		text := string(source[files.Position(e.Pos()).Offset:files.Position(e.End()).Offset])
		change(e, e.Pos(), e.End(), "!("+text+")")
		both, ok := ast.Unparen(e).(*ast.BinaryExpr)
		if !ok {
			return
		}
		if both.Op == token.LAND || both.Op == token.LOR {
			condition(both.X)
			condition(both.Y)
		}
		if moved, ok := bounds[both.Op]; ok {
			change(e, both.OpPos, both.OpPos+token.Pos(len(both.Op.String())), moved.String())
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SwitchStmt); ok && s.Tag == nil {
			for _, clause := range s.Body.List {
				for _, e := range clause.(*ast.CaseClause).List { //nolint:errcheck // nothing else stands there
					condition(e)
				}
			}
		}
		return true
	})
	return all, nil
}
