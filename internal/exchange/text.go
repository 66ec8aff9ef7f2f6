package exchange

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// Text is a template over an account. Its language is the small part of
// text/template that a request needs: text, fields, the functions below, and
// if with else.
//
//	{"name": {{json .Username}}, "class": {{json .Attributes.class}}}
//
// The functions are json, which quotes any field for JSON; path and query,
// which escape for a URL's path and query; form, which escapes for a form; and
// text/template's eq, ne, and, or, not and index. index .Attributes "x" is empty
// when there is no such attribute; .Attributes.x is an error then.
//
// A Text does not change and is safe for concurrent use.
type Text struct {
	tree *parse.Tree
	run  *template.Template
	// fields and attributes are the names that the template uses.
	fields, attributes []string
}

// rootName is the name of every template; it begins the library's messages.
const rootName = "text"

// ParseText reads a template whose fields are those of the scope. The error is
// one line that begins with the template's line: "line 2: no field Usrname; ...".
func ParseText(source string, scope Scope) (*Text, error) {
	tree := parse.New(rootName)
	tree.Mode = parse.SkipFuncCheck // the walk below names those there are
	all := make(map[string]*parse.Tree)
	if _, err := tree.Parse(source, "", "", all); err != nil {
		return nil, errors.New(located(err))
	}
	t := &Text{tree: tree}
	w := walk{source: source, scope: scope, text: t}
	if all[rootName] != tree || len(all) > 1 {
		return nil, errors.New("line 1: define is not available: write one text")
	}
	if err := w.list(tree.Root); err != nil {
		return nil, err
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	// Whatever is left shows when it is used, on both sides of an if.
	for _, f := range []Fields{sample(t.attributes), {}} {
		if _, err := t.execute(f); err != nil && (f.Username != "" || !t.lacksAttribute(f)) {
			return nil, err
		}
	}
	return t, nil
}

// ParsePath is ParseText for the path of a request, with its query if any.
// It must begin with a slash, and every value in it must be escaped by path or
// query: no account may step out of its place.
func ParsePath(source string, scope Scope) (*Text, error) {
	if !strings.HasPrefix(source, "/") {
		return nil, errors.New("must begin with a slash")
	}
	t, err := ParseText(source, scope)
	if err != nil {
		return nil, err
	}
	w := walk{source: source, scope: scope, text: t, escaped: true}
	if err := w.list(t.tree.Root); err != nil {
		return nil, err
	}
	return t, nil
}

// build makes the template of the tree.
func (t *Text) build() error {
	root := template.New(rootName).Funcs(functions()).Option("missingkey=error")
	run, err := root.AddParseTree(rootName, t.tree)
	if err != nil {
		return errors.New(located(err))
	}
	t.run = run
	return nil
}

// Uses says whether the template names a field.
func (t *Text) Uses(field string) bool { return slices.Contains(t.fields, field) }

// Fill returns the text for an account. It fails for an account that lacks an
// attribute which the template names. The error may quote parts of the
// template, but no value of a field.
func (t *Text) Fill(f Fields) (string, error) {
	filled, err := t.execute(f)
	if err != nil && t.lacksAttribute(f) {
		i := slices.IndexFunc(t.attributes, func(name string) bool { _, ok := f.Attributes[name]; return !ok })
		return "", fmt.Errorf("the account has no attribute %q", t.attributes[i])
	}
	return filled, err
}

func (t *Text) execute(f Fields) (string, error) {
	if f.Attributes == nil {
		f.Attributes = map[string]string{} // {} in JSON, not null
	}
	var b strings.Builder
	if err := t.run.Execute(&b, f); err != nil {
		return "", errors.New(located(err))
	}
	return b.String(), nil
}

func (t *Text) lacksAttribute(f Fields) bool {
	return slices.ContainsFunc(t.attributes, func(name string) bool { _, ok := f.Attributes[name]; return !ok })
}

// Expand returns the text with every ${NAME} outside of its actions replaced by
// what lookup says. What a variable holds is text: it cannot be an action.
func (t *Text) Expand(lookup func(name string) (string, bool)) (*Text, error) {
	expanded := &Text{tree: t.tree.Copy(), fields: t.fields, attributes: t.attributes}
	if err := expandNodes(expanded.tree.Root, lookup); err != nil {
		return nil, err
	}
	if err := expanded.build(); err != nil {
		return nil, err
	}
	return expanded, nil
}

func expandNodes(list *parse.ListNode, lookup func(string) (string, bool)) error {
	if list == nil {
		return nil
	}
	var problems []error
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			text, err := Expand(string(n.Text), lookup)
			n.Text = []byte(text)
			problems = append(problems, err)
		case *parse.IfNode:
			problems = append(problems, expandNodes(n.List, lookup), expandNodes(n.ElseList, lookup))
		}
	}
	return errors.Join(problems...)
}

// located turns a message of the library into one of ours: the line is what
// people need to find it.
func located(err error) string {
	text := strings.TrimPrefix(err.Error(), "template: ")
	rest, ok := strings.CutPrefix(text, rootName+":")
	if !ok {
		return text
	}
	line, rest, _ := strings.Cut(rest, ":")
	// Errors of execution have a column and repeat the template's name.
	if column, after, ok := strings.Cut(rest, ": "); ok && strings.Trim(column, "0123456789") == "" {
		rest = after
	}
	rest = strings.TrimPrefix(strings.TrimSpace(rest), `executing "`+rootName+`" `)
	return "line " + line + ": " + strings.TrimSpace(rest)
}
