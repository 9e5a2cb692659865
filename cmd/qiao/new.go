package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/starter"
)

func newNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Write the beginning of a service",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNewServiceCommand())
	return cmd
}

// newServiceFlags say what new service is to write.
type newServiceFlags struct {
	options starter.Options
	noTidy  bool
	asJSON  bool
}

func newNewServiceCommand() *cobra.Command {
	var f newServiceFlags
	cmd := &cobra.Command{
		Use:   "service NAME",
		Short: "Write a service that takes part in global transactions",
		Long: `service writes a Go module with a service, its database on SQLite, and a test that
runs a transaction over two of them and a coordinator in one process. Nothing but Go
is needed to try it. go mod tidy then fetches what the module needs.`,
		Example: `  qiao new service order --rpc grpc --mode at
  qiao new service order --rpc http --mode tcc --module github.com/acme/order --dir ./services/order
  cd order && go test ./...`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%s wants one NAME, got %d (see %q)", cmd.CommandPath(), len(args), cmd.CommandPath()+" --help")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.options.Name = args[0]
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.options.RPC, "rpc", "http", "how services call each other: "+strings.Join(starter.RPCs(), ", "))
	flags.StringVar(&f.options.Mode, "mode", "at", "how the database takes part: "+strings.Join(starter.Modes(), ", "))
	flags.StringVar(&f.options.Module, "module", "", "the Go module's `path` (default example.com/NAME)")
	flags.StringVar(&f.options.Dir, "dir", "", "the `directory` to write; it must be empty or not there (default ./NAME)")
	flags.StringVar(&f.options.Replace, "replace", "", "use Qiao's source in this `directory` instead of the released version")
	flags.BoolVar(&f.noTidy, "no-tidy", false, "do not run go mod tidy")
	flags.BoolVar(&f.asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// released is the version of a build of a released module.
var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?$`)

func (f *newServiceFlags) run(ctx context.Context, out, progress io.Writer) error {
	if err := f.chooseVersion(buildVersion()); err != nil {
		return err
	}
	dir, files, err := starter.Write(f.options)
	if errors.Is(err, starter.ErrInvalid) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if !f.noTidy {
		if !f.asJSON {
			fmt.Fprintf(progress, "wrote %d files to %s; running go mod tidy there\n", len(files), dir)
		}
		if err := tidyModule(ctx, dir); err != nil {
			return err
		}
	}
	if f.asJSON {
		return json.NewEncoder(out).Encode(map[string]any{
			"dir": dir, "files": files, "rpc": f.options.RPC, "mode": f.options.Mode, "tidy": !f.noTidy,
		})
	}
	_, err = fmt.Fprintf(out, "%s is ready. Next:\n  cd %s\n%s  go test ./...\nIts README.md says what to change.\n",
		f.options.Name, shellWord(dir), map[bool]string{true: "  go mod tidy\n"}[f.noTidy])
	return err
}

// plainWord is text that a shell takes as it is.
var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellWord is text as one word of a command line, to be copied.
func shellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// chooseVersion has the module require the version of this program.
func (f *newServiceFlags) chooseVersion(version string) error {
	if f.options.Replace == "" {
		if !released.MatchString(version) {
			return usageError{fmt.Errorf("this build of qiao is no released version (%s), so no module can require it: give --replace DIR, the directory with its source", version)}
		}
		f.options.Version = version
		return nil
	}
	dir, err := filepath.Abs(f.options.Replace)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "client", "client.go")); err != nil {
		return usageError{fmt.Errorf("--replace %s: there is no source of Qiao: %w", f.options.Replace, err)}
	}
	f.options.Replace, f.options.Version = dir, "v0.0.0"
	return nil
}

// tidyModule has Go complete the module's requirements.
func tidyModule(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "tidy")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the files are in %s, but go mod tidy failed there: %w; it wants Go 1.26 and its module proxy: put right what is said below, and run it again\n%s", dir, err, bytes.TrimSpace(text))
	}
	return nil
}
