package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/statelang"
)

func newSagaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "saga",
		Short: "Check, draw and run state machines of sagas",
		Long: `saga works with state machines in Seata's JSON language, also with those that
Seata's designer saves. See docs/saga.md.`,
		Example: `  qiao saga validate order.json
  qiao saga graph order.json -o order.svg
  qiao saga run order.json --params '{"count": 2}' --fail balance.reduce=NoMoney`,
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSagaValidateCommand(), newSagaGraphCommand(), newSagaRunCommand(), newSagaTablesCommand())
	return cmd
}

// sagaFiles wants at least one file.
func sagaFiles(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("name a file with a state machine, or - for standard input")}
	}
	return nil
}

// readMachine reads a definition and parses all that is in it.
func readMachine(name string, in io.Reader) (*statelang.Machine, error) {
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	m, err := statelang.Parse(text)
	if err != nil {
		return nil, err
	}
	_, err = machine.Compile(m)
	return m, err
}

// sagaReport is what validate finds in a file.
type sagaReport struct {
	File     string        `json:"file"`
	Machine  string        `json:"machine,omitempty"`
	States   int           `json:"states"`
	Valid    bool          `json:"valid"`
	Problems []sagaProblem `json:"problems"`
	Warnings []sagaProblem `json:"warnings"`
}

type sagaProblem struct {
	Path   string `json:"path"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
}

func sagaProblems(from []statelang.Problem) []sagaProblem {
	all := []sagaProblem{}
	for _, p := range from {
		all = append(all, sagaProblem(p))
	}
	return all
}

func newSagaValidateCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Tell every mistake in state machines, with its JSON path",
		Long: `validate reads state machines and tells every mistake: what is no JSON, states
that do not exist, loops without an end, expressions that cannot be parsed. Each
line names the file, the line, the column and the JSON path. A warning is something
that changes nothing, such as a key that nobody reads.`,
		Example: `  qiao saga validate order.json payment.json
  qiao saga validate --json *.json | jq 'select(.valid | not)'`,
		Args: sagaFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := 0
			for _, name := range args {
				r, err := validateSaga(name, cmd.InOrStdin())
				if err != nil {
					return err
				}
				if !r.Valid {
					bad++
				}
				if err := r.write(cmd.OutOrStdout(), asJSON); err != nil {
					return err
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d state machines have mistakes", bad, len(args))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a file")
	return cmd
}

func validateSaga(name string, in io.Reader) (*sagaReport, error) {
	r := &sagaReport{File: name, Problems: []sagaProblem{}, Warnings: []sagaProblem{}}
	m, err := readMachine(name, in)
	var mistakes *statelang.Error
	switch {
	case errors.As(err, &mistakes):
		r.Problems = sagaProblems(mistakes.Problems)
	case err != nil:
		return nil, err
	}
	if m != nil {
		r.Machine, r.States, r.Warnings = m.Name, len(m.Order), sagaProblems(m.Warnings)
	}
	r.Valid = err == nil
	return r, nil
}

func (r *sagaReport) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintf(out, "%s:%s\n", r.File, problemLine(p)); err != nil {
			return err
		}
	}
	for _, p := range r.Warnings {
		if _, err := fmt.Fprintf(out, "%s:%s (warning)\n", r.File, problemLine(p)); err != nil {
			return err
		}
	}
	if !r.Valid {
		return nil
	}
	_, err := fmt.Fprintf(out, "%s: ok: %s, %d states\n", r.File, r.Machine, r.States)
	return err
}

func problemLine(p sagaProblem) string {
	if p.Line == 0 {
		return " " + statelang.Problem(p).String()
	}
	return statelang.Problem(p).String()
}
