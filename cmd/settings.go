package cmd

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/throng-load/throng/scenarios"
)

// variable is the environment's name of a flag: spawn-rate is THRONG_SPAWN_RATE.
func variable(flag string) string {
	return "THRONG_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// onlyOnLine makes a flag one of the command line alone: its variable and its
// key are those of another command's flag of the same name.
func onlyOnLine(flags *pflag.FlagSet, name string) {
	_ = flags.SetAnnotation(name, onlyOnLineKey, []string{"true"}) // it is there
}

const onlyOnLineKey = "throng_only_on_line"

func isOnlyOnLine(f *pflag.Flag) bool { return f.Annotations[onlyOnLineKey] != nil }

// readEnvironment gives every flag that is not on the command line the value
// of its variable, if there is one. All mistakes are reported at once.
func readEnvironment(cmd *cobra.Command, e env) error {
	var problems []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || isOnlyOnLine(f) {
			return
		}
		value, ok := e.lookup(variable(f.Name))
		if !ok || value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			problems = append(problems, usageError("%s: %v", variable(f.Name), cause(err)))
		}
	})
	return errors.Join(problems...)
}

// readSettings gives every flag that is neither on the command line nor in the
// environment the value of its key in the file.
func readSettings(cmd *cobra.Command, file string, spec *scenarios.Spec) error {
	var problems []scenarios.Problem
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		setting, ok := spec.Settings[f.Name]
		if f.Changed || !ok || isOnlyOnLine(f) {
			return
		}
		if err := cmd.Flags().Set(f.Name, setting.Text); err != nil {
			problems = append(problems, scenarios.Problem{File: file, Line: setting.Line, Column: setting.Column, Path: f.Name, Text: cause(err).Error()})
		}
	})
	if len(problems) > 0 {
		return &scenarios.SpecError{Problems: problems}
	}
	return nil
}

// cause is the reason without pflag's preamble, in words for people where it
// would name a function of Go.
func cause(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	what := map[string]string{"int": "a whole number", "uint64": "a whole number", "float64": "a number", "bool": "true or false"}
	if kind, ok := what[invalid.GetFlag().Value.Type()]; ok {
		return fmt.Errorf("%q is not %s", invalid.GetValue(), kind)
	}
	return invalid.Unwrap()
}

// loadSpec reads the file of --file, or else text, and puts what the file says
// of flags into them.
func loadSpec(cmd *cobra.Command, e env, file, name string, text []byte) (*scenarios.Spec, error) {
	if file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return nil, usageError("-f: %w", err)
		}
		name = file
	}
	spec, err := scenarios.ParseSpec(name, text, scenarios.ParseEnv{Scenarios: e.scenarios, Schemes: schemes(), Flags: flagNames(cmd.Root())})
	if err != nil {
		return nil, err
	}
	return spec, readSettings(cmd, name, spec)
}

// flagNames are the flags of all commands: a file may be shared by several.
func flagNames(root *cobra.Command) []string {
	seen := map[string]bool{"help": true, "file": true}
	var names []string
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !seen[f.Name] && !f.Hidden && !isOnlyOnLine(f) {
				seen[f.Name] = true
				names = append(names, f.Name)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	return names
}
