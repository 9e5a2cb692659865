package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/actiongen"
)

// genFlags say what gen tcc is to do.
type genFlags struct {
	only, out     string
	check, asJSON bool
}

func newGenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gen",
		Short: "Generate Go code",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGenTCCCommand())
	return cmd
}

func newGenTCCCommand() *cobra.Command {
	var f genFlags
	cmd := &cobra.Command{
		Use:   "tcc [FILE]",
		Short: "Turn an annotated Go interface into TCC actions and calls with a compensation",
		Long: `gen tcc reads a Go file and writes another beside it, which registers the methods
of its interfaces that are annotated, and calls them as branches of global
transactions. Without FILE it reads $GOFILE, as go generate sets it.

  type Stock interface {
  	// Reserve sets pieces aside.
  	//qiao:tcc name=stock-reserve confirm=Take cancel=GiveBack timeout=5s attempts=3
  	Reserve(ctx context.Context, item string, count int) error
  	Take(ctx context.Context, item string, count int) error
  	GiveBack(ctx context.Context, item string, count int) error

  	//qiao:compensation name=stock-order compensate=CancelOrder
  	Order(ctx context.Context, order Order) (string, error)
  	CancelOrder(ctx context.Context, order Order) error
  }

gives RegisterStock(ctx, client.RM(), stock), which returns a StockActions with the
methods Reserve and Order. Keys of an annotation: name, confirm and cancel or
compensate; timeout, attempts, wait and give-up-after for phase two; try-timeout or
call-timeout for phase one. Methods that take tx *sql.Tx behind ctx are fenced.`,
		Example: `  //go:generate go run github.com/qiao-tx/qiao/cmd/qiao gen tcc
  qiao gen tcc stock.go              # writes stock_tcc.go
  qiao gen tcc --check stock.go      # fails when stock_tcc.go is stale`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one file; run it for each, or by go generate", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			file := os.Getenv("GOFILE")
			if len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				return usageError{errors.New("name a Go file, or run it by go generate, which sets $GOFILE")}
			}
			return f.run(file, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.only, "type", "", "only the `interface` of this name")
	flags.StringVar(&f.out, "out", "", "the `file` to write; default FILE with _tcc.go for .go; - is standard output")
	flags.BoolVar(&f.check, "check", false, "write nothing, and fail when the file is not what would be written")
	flags.BoolVar(&f.asJSON, "json", false, "print the result, or what is wrong with the source, as one JSON object")
	return cmd
}

// genReport is what --json prints.
type genReport struct {
	File    string             `json:"file,omitempty"`
	Changed bool               `json:"changed"`
	Actions []actiongen.Action `json:"actions,omitempty"`
	Errors  actiongen.Problems `json:"errors,omitempty"`
}

func (f *genFlags) run(file string, out io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	made, err := actiongen.Generate(file, text, f.only)
	var problems actiongen.Problems
	if errors.As(err, &problems) && f.asJSON {
		return errors.Join(printJSON(out, genReport{Errors: problems}), fmt.Errorf("%s: %d problems", file, len(problems)))
	}
	if err != nil {
		return err
	}
	target := f.out
	switch target {
	case "":
		target = strings.TrimSuffix(file, ".go") + "_tcc.go"
	case "-":
		_, err := out.Write(made.Code)
		return err
	}
	if filepath.Clean(target) == filepath.Clean(file) {
		return usageError{fmt.Errorf("--out %s is the source itself", target)}
	}
	return f.write(target, made, out)
}

// write writes the file if it is another, and tells.
func (f *genFlags) write(target string, made *actiongen.Result, out io.Writer) error {
	before, err := os.ReadFile(target)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	changed := !bytes.Equal(before, made.Code)
	switch {
	case changed && f.check:
		err = fmt.Errorf("%s is stale: run qiao gen tcc", target)
	case changed:
		err = os.WriteFile(target, made.Code, 0o644)
	default:
		err = nil
	}
	if f.asJSON {
		return errors.Join(err, printJSON(out, genReport{File: target, Changed: changed, Actions: made.Actions}))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %d actions\n", target, len(made.Actions))
	return err
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
