package exchange

import (
	"encoding/json"
	"net/url"
	"strings"
	"text/template"
)

// functions are those that text/template does not have.
func functions() template.FuncMap {
	return template.FuncMap{
		"json":  quoteJSON,
		"path":  escapePath,
		"query": escapeQuery,
		"form":  url.QueryEscape,
	}
}

// functionNames lists all functions that a template can call.
func functionNames() []string {
	return []string{"json", "path", "query", "form", "eq", "ne", "and", "or", "not", "index"}
}

// quoteJSON returns a field as JSON.
func quoteJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

// escapePath escapes one segment of a path. Names of dots alone are escaped
// too, or they would be taken as steps in the path.
func escapePath(text string) string {
	if strings.Trim(text, ".") == "" {
		return strings.ReplaceAll(text, ".", "%2E")
	}
	return url.PathEscape(text)
}

// escapeQuery escapes a value in a query. A space is %20 there, which everybody
// reads, and not a form's plus sign.
func escapeQuery(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
