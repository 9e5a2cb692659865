// Package starter writes the beginning of a service: a Go module that compiles and
// whose test runs a global transaction.
//
// Job: check what is asked for, fill the templates, put the module in its place as
// a whole or not at all.
// Owner: qiao new.
// It must not know: command lines; what the templates' packages do.
package starter

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

// ErrNotEmpty: the directory to write to has something in it.
var ErrNotEmpty = errors.New("is there already and not empty")

// ErrInvalid: a field of Options is not as its comment says.
var ErrInvalid = errors.New("invalid")

// Options say what to write.
type Options struct {
	// Name is the service's: lower-case letters, digits and hyphens, the first a
	// letter.
	Name string
	// RPC is how services call each other, one of RPCs.
	RPC string
	// Mode is how the database takes part, one of Modes.
	Mode string
	// Module is the Go module's path. Default "example.com/" and Name.
	Module string
	// Dir is where to write: a directory that is empty or not there. Default Name.
	Dir string
	// Version is Qiao's, as a Go module.
	Version string
	// Replace is a directory with Qiao's source, which is used in place of
	// Version. Optional.
	Replace string
}

// RPCs are the frameworks that can carry the calls.
func RPCs() []string { return []string{"dubbo", "triple", "grpc", "http"} }

// Modes are the modes in which the database can take part.
func Modes() []string { return []string{"at", "tcc"} }

// sources names the template of every file of a starter, but for those below
// bankpb, which only gRPC has.
func (o Options) sources() map[string]string {
	rpc := o.RPC
	if o.dubbo() {
		rpc = "dubbo" // and triple, which differs in a few words
	}
	return map[string]string{
		"go.mod": "go.mod", ".gitignore": "gitignore", "README.md": "README.md",
		"main.go": "main.go", "service.go": "service.go", "service_test.go": "service_test.go",
		"accounts.go": "accounts_" + o.Mode + ".go", "rpc.go": "rpc_" + rpc + ".go",
	}
}

func (o Options) dubbo() bool { return o.RPC == "dubbo" || o.RPC == "triple" }

var (
	nameForm   = regexp.MustCompile(`^[a-z](-?[a-z0-9]+)*$`)
	majorForm  = regexp.MustCompile(`^v[2-9]$|^v[1-9]\d+$`)
	moduleForm = regexp.MustCompile(`^[A-Za-z0-9][\w.~-]*(/[A-Za-z0-9_][\w.~-]*)*$`)
)

// ownModule is the module that a starter requires, so it cannot have that name.
const ownModule = "github.com/qiao-tx/qiao"

// maxName is the longest name: it becomes a part of resource ids.
const maxName = 40

func (o Options) check() error {
	switch {
	case len(o.Name) > maxName || !nameForm.MatchString(o.Name):
		return fmt.Errorf("%w name %q: want lower-case letters, digits and single hyphens, the first a letter, at most %d of them, such as order-service", ErrInvalid, o.Name, maxName)
	case !slices.Contains(RPCs(), o.RPC):
		return fmt.Errorf("%w rpc %q: want one of %s", ErrInvalid, o.RPC, strings.Join(RPCs(), ", "))
	case !slices.Contains(Modes(), o.Mode):
		return fmt.Errorf("%w mode %q: want one of %s", ErrInvalid, o.Mode, strings.Join(Modes(), ", "))
	case !moduleForm.MatchString(o.Module) || strings.HasSuffix(o.Module, "."):
		return fmt.Errorf("%w module %q: want a Go module's path, such as github.com/acme/%s", ErrInvalid, o.Module, o.Name)
	case o.Module == ownModule || strings.HasPrefix(o.Module, ownModule+"/"):
		return fmt.Errorf("%w module %q: it is Qiao's own; want your own, such as github.com/acme/%s", ErrInvalid, o.Module, o.Name)
	case o.Version == "":
		return fmt.Errorf("%w version: it is empty", ErrInvalid)
	case strings.ContainsAny(o.Replace, " \t\n\"`'"):
		return fmt.Errorf("%w replace %q: go.mod cannot name a directory with spaces or quotes", ErrInvalid, o.Replace)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Module == "" {
		o.Module = "example.com/" + o.Name
	}
	if o.Dir == "" {
		o.Dir = o.Name
	}
	return o
}

// Write writes a starter and returns its directory and its files, sorted. An error
// wraps ErrInvalid or ErrNotEmpty, or is the file system's; nothing is written then.
// The module's go.sum is for go mod tidy to write.
func Write(o Options) (dir string, files []string, err error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return "", nil, err
	}
	texts, err := o.render()
	if err != nil {
		return "", nil, err
	}
	if err := vacant(o.Dir); err != nil {
		return "", nil, err
	}
	if err := place(o.Dir, texts); err != nil {
		return "", nil, fmt.Errorf("write %s: %w", o.Dir, err)
	}
	for name := range texts {
		files = append(files, name)
	}
	slices.Sort(files)
	return o.Dir, files, nil
}

// render returns the texts of the files by their names.
func (o Options) render() (map[string][]byte, error) {
	values := map[string]any{
		"Name": o.Name, "Module": o.Module, "Program": program(o.Module), "Version": o.Version, "Replace": filepath.ToSlash(o.Replace),
		"AT": o.Mode == "at", "TCC": o.Mode == "tcc", "GRPC": o.RPC == "grpc", "Dubbo": o.dubbo(), "Triple": o.RPC == "triple",
		"RPCName":  map[string]string{"dubbo": "Dubbo", "triple": "Triple", "grpc": "gRPC", "http": "HTTP"}[o.RPC],
		"ModeName": map[string]string{"at": "AT, which undoes by itself", "tcc": "TCC: try, confirm, cancel"}[o.Mode],
	}
	texts := map[string][]byte{}
	for name, source := range o.sources() {
		parsed, err := template.New(source+".tmpl").Option("missingkey=error").ParseFS(templates, "templates/"+source+".tmpl")
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := parsed.Execute(&b, values); err != nil {
			return nil, err
		}
		texts[name] = b.Bytes()
	}
	if o.RPC != "grpc" {
		return texts, nil
	}
	entries, err := fs.ReadDir(templates, "templates/bankpb")
	for _, entry := range entries {
		text, readErr := templates.ReadFile("templates/bankpb/" + entry.Name())
		texts[path.Join("bankpb", strings.TrimSuffix(entry.Name(), ".tmpl"))] = text // as protoc wrote it
		err = errors.Join(err, readErr)
	}
	return texts, err
}

// program is what go build calls the program of a module: a last element that is
// a major version is not its name.
func program(module string) string {
	dir, name := path.Split(module)
	if dir != "" && majorForm.MatchString(name) {
		return path.Base(dir)
	}
	return name
}

// vacant returns nil when dir is empty or not there.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s %w: it has %s; choose another directory or empty this one", dir, ErrNotEmpty, entries[0].Name())
	}
	return nil
}

// place writes the files to a draft first, so that dir is there as a whole or not
// at all. A directory that is there already keeps its owner, its mode and the links
// to it: it may be the one that somebody stands in.
func place(dir string, texts map[string][]byte) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return fill(dir, texts)
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	return withDraft(parent, texts, func(draft string) error {
		if err := os.Chmod(draft, 0o755); err != nil { // MkdirTemp's is private
			return err
		}
		return os.Rename(draft, dir)
	})
}

// fill moves the files into an empty directory.
func fill(dir string, texts map[string][]byte) error {
	return withDraft(dir, texts, func(draft string) (err error) {
		entries, err := os.ReadDir(draft)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			if err := os.Rename(filepath.Join(draft, entry.Name()), filepath.Join(dir, entry.Name())); err != nil {
				for _, moved := range entries[:i] {
					err = errors.Join(err, os.RemoveAll(filepath.Join(dir, moved.Name())))
				}
				return err
			}
		}
		return nil
	})
}

// withDraft writes the files to a new directory in parent and calls use, which may
// move it; what is left of it then goes.
func withDraft(parent string, texts map[string][]byte, use func(draft string) error) (err error) {
	draft, err := os.MkdirTemp(parent, ".qiao-new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(draft)) }()
	for name, text := range texts {
		file := filepath.Join(draft, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return use(draft)
}
