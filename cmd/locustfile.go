package cmd

import (
	_ "embed"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/scenarios"
)

//go:embed locustfile.py.tmpl
var locustfileText string

var locustfile = template.Must(template.New("locustfile").Funcs(template.FuncMap{"python": pythonString}).Parse(locustfileText))

func newLocustfile(e env) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "locustfile",
		Short: "Print the locustfile for a Locust master that drives throng's workers",
		Long: `Prints a locustfile for a Python Locust master (2.12 or newer) with the scenario's
user classes and their weights. It also tells each worker every second which
classes it is to run and that the master is alive.`,
		Example: `  throng locustfile -f throng.yaml > locustfile.py
  locust -f locustfile.py --master
  throng worker -f throng.yaml --master-host 127.0.0.1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readEnvironment(cmd, e); err != nil {
				return err
			}
			if file == "" {
				return usageError("locustfile: give the run's file with -f throng.yaml")
			}
			spec, err := loadSpec(cmd, e, file, "", nil)
			if err != nil {
				return err
			}
			text, err := writeLocustfile(spec)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(e.stdout, text)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the run's `throng.yaml`")
	return cmd
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// writeLocustfile returns the locustfile for a spec.
func writeLocustfile(spec *scenarios.Spec) (string, error) {
	classes := spec.Behaviour.Classes()
	for _, class := range classes {
		if !identifier.MatchString(class.Name) {
			return "", usageError("locustfile: the user class %q of scenario %s cannot be a class of Python's: use letters, digits and underscores", class.Name, spec.Scenario)
		}
	}
	target := spec.Target
	if u, err := url.Parse(target); err == nil {
		u.User = nil // Locust's page shows it
		target = u.String()
	}
	var text strings.Builder
	err := locustfile.Execute(&text, map[string]any{"Scenario": spec.Scenario, "Target": target, "Classes": classes})
	return text.String(), err
}

// pythonString is a string literal of Python's. Go's are, for what can be printed
// or has to be escaped.
func pythonString(s string) string { return strconv.QuoteToASCII(s) }
