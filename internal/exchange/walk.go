package exchange

import (
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
)

// walk checks a template's tree against the language and notes which fields
// it uses.
type walk struct {
	source string
	scope  Scope
	text   *Text
	// escaped asks instead whether every value is escaped for a URL.
	escaped bool
}

func (w *walk) list(list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, n := range list.Nodes {
		if err := w.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) node(n parse.Node) error {
	switch n := n.(type) {
	case *parse.TextNode, *parse.CommentNode:
		return nil
	case *parse.ActionNode:
		if w.escaped {
			return w.escapes(n.Pipe)
		}
		return w.pipe(n.Pipe)
	case *parse.IfNode:
		if !w.escaped {
			if err := w.pipe(n.Pipe); err != nil {
				return err
			}
		}
		if err := w.list(n.List); err != nil {
			return err
		}
		return w.list(n.ElseList)
	}
	return w.notAvailable(n)
}

func (w *walk) pipe(p *parse.PipeNode) error {
	if len(p.Decl) > 0 {
		return w.notAvailable(p)
	}
	for _, c := range p.Cmds {
		for _, argument := range c.Args {
			if err := w.argument(argument); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) argument(n parse.Node) error {
	switch n := n.(type) {
	case *parse.StringNode, *parse.BoolNode, *parse.NumberNode:
		return nil
	case *parse.PipeNode: // in parentheses
		return w.pipe(n)
	case *parse.IdentifierNode:
		if slices.Contains(functionNames(), n.Ident) {
			return nil
		}
		return w.problem(n, "no function %s; there are %s", n.Ident, strings.Join(functionNames(), ", "))
	case *parse.FieldNode:
		return w.field(n)
	}
	return w.notAvailable(n)
}

func (w *walk) field(n *parse.FieldNode) error {
	name := n.Ident[0]
	switch {
	case !slices.Contains(w.scope.fields(), name):
		return w.problem(n, "%s", w.scope.lacks(name))
	case name == attributes && len(n.Ident) == 2:
		if !slices.Contains(w.text.attributes, n.Ident[1]) {
			w.text.attributes = append(w.text.attributes, n.Ident[1])
		}
	case len(n.Ident) > 1:
		inner := "." + strings.Join(n.Ident[:len(n.Ident)-1], ".")
		return w.problem(n, "no field %s in %s, which is text", n.Ident[len(n.Ident)-1], inner)
	}
	if !w.text.Uses(name) {
		w.text.fields = append(w.text.fields, name)
	}
	return nil
}

// escapes says whether what a pipe gives comes out of path or query.
func (w *walk) escapes(p *parse.PipeNode) error {
	last := p.Cmds[len(p.Cmds)-1]
	if f, ok := last.Args[0].(*parse.IdentifierNode); ok && (f.Ident == "path" || f.Ident == "query") {
		return nil
	}
	return w.problem(p, "{{%s}} is not escaped: write {{%s | path}}, or behind the ? {{%[2]s | query}}", p, p)
}

func (w *walk) notAvailable(n parse.Node) error {
	return w.problem(n, "%s is not available: there are fields, functions, and if with else", n)
}

// problem is one line about n.
func (w *walk) problem(n parse.Node, format string, args ...any) error {
	line := 1 + strings.Count(w.source[:min(int(n.Position()), len(w.source))], "\n")
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "…"
	}
	return fmt.Errorf("line %d: %s", line, text)
}

// maxText bounds a message, which may repeat a piece of the template.
const maxText = 300
