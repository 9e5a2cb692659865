package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Sources are the places where settings are looked for.
type Sources struct {
	// File is the path of a YAML file. Empty: what QIAO_CONFIG names, or none.
	File string
	// Environ holds NAME=value, as os.Environ gives them.
	Environ []string
	// Flags holds the flags that were given, by name.
	Flags map[string]string
}

// Loaded is a valid configuration and where it came from.
type Loaded struct {
	Config
	// Warnings are about what was ignored, one sentence each.
	Warnings []string
	// origin tells for each key that is not a default who set it.
	origin map[string]string
}

// FileEnv names the environment variable that holds the path of the file.
const FileEnv = envPrefix + "CONFIG"

// Load fills a Config: defaults, then the file, then the environment, then
// flags. A key that does not exist or a value that does not fit is an error that
// names the place; unknown environment variables with our prefix are warnings,
// because an orchestrator may set such for reasons of its own.
func Load(src Sources) (*Loaded, error) {
	l := &Loaded{Config: Default(), origin: make(map[string]string)}
	settings := Settings(&l.Config)
	env := make(map[string]string)
	for _, e := range src.Environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	file := src.File
	if file == "" {
		file = env[FileEnv]
	}
	if file != "" {
		if err := l.readFile(file, settings); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(l.takeEnvironment(env, settings), l.takeFlags(src.Flags, settings)); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Loaded) takeEnvironment(env map[string]string, settings []Setting) error {
	var errs []error
	for _, s := range settings {
		value, ok := env[s.Env()]
		if !ok {
			continue
		}
		delete(env, s.Env())
		if err := s.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", s.Env(), err))
		}
		l.origin[s.Key] = s.Env()
	}
	delete(env, FileEnv)
	for _, name := range sortedKeys(env) {
		warning := "environment variable " + name + " names no setting and is ignored"
		if near, ok := nearest(name, envNames(settings)); ok {
			warning += "; did you mean " + near + "?"
		}
		l.Warnings = append(l.Warnings, warning)
	}
	return errors.Join(errs...)
}

func (l *Loaded) takeFlags(flags map[string]string, settings []Setting) error {
	var errs []error
	for _, s := range settings {
		value, ok := flags[s.Flag()]
		if !ok {
			continue
		}
		if err := s.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("flag --%s: %w", s.Flag(), err))
		}
		l.origin[s.Key] = "--" + s.Flag()
	}
	return errors.Join(errs...)
}

// Print writes the configuration as a file that Load reads back, with where
// each value came from.
func (l *Loaded) Print(w io.Writer) error {
	var b strings.Builder
	for i, s := range Settings(&l.Config) {
		if i > 0 {
			b.WriteByte('\n')
		}
		origin := l.origin[s.Key]
		if origin == "" {
			origin = "default"
		}
		fmt.Fprintf(&b, "# %s (%s)\n%s: %s\n", s.Usage, origin, s.Key, yamlScalar(s.Value))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Loaded) readFile(path string, settings []Setting) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	return l.takeFile(path, content, settings)
}
