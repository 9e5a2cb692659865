package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// suiteTimeout is for one run of one suite. The suites take seconds; a mutant
// that makes one hang is not seen by a check, and counts as not caught.
const suiteTimeout = 2 * time.Minute

// bench is where suites are built and run.
type bench struct {
	root string // the module's
	dir  string // for files that go when all is done
}

// verdict is what a suite said to a mutant.
type verdict struct {
	caught bool
	// by is the first complaint, or why there was none.
	by   string
	took time.Duration
}

// try builds the suite with the mutant and runs it. The error says that there
// is no verdict: the mutant does not fit, or does not compile.
func (b *bench) try(ctx context.Context, number int, m *mutant) (verdict, error) {
	began := time.Now()
	source, err := m.source(b.root)
	if err != nil {
		return verdict{}, err
	}
	base := filepath.Join(b.dir, strconv.Itoa(number))
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(b.root, filepath.FromSlash(m.file)): base + ".go"},
	})
	if err != nil {
		return verdict{}, err
	}
	if err := errors.Join(
		os.WriteFile(base+".go", []byte(source), 0o600),
		os.WriteFile(base+".json", overlay, 0o600),
	); err != nil {
		return verdict{}, err
	}
	output, err := b.run(ctx, base+".test", m.suite, "-overlay", base+".json")
	if err != nil {
		return verdict{}, fmt.Errorf("mutant %q: %w", m.name, err)
	}
	v := verdict{by: "NOT CAUGHT", took: time.Since(began)}
	switch {
	case strings.Contains(output, "panic: test timed out"):
		v.by = fmt.Sprintf("NOT CAUGHT: still running after %s", suiteTimeout)
	case output != "":
		v.caught, v.by = true, complaint(output)
	}
	return v, nil
}

// sound checks that a suite passes without any mutant: one that always fails
// catches nothing.
func (b *bench) sound(ctx context.Context, suite []string) error {
	output, err := b.run(ctx, filepath.Join(b.dir, "sound.test"), suite)
	if err == nil && output != "" {
		err = fmt.Errorf("%s fails without a mutant:\n%s", strings.Join(suite, " "), output)
	}
	return err
}

// run builds a suite as binary and runs it. It returns what the suite printed
// when it failed, and nothing when it passed.
func (b *bench) run(ctx context.Context, binary string, suite []string, flags ...string) (string, error) {
	build := exec.CommandContext(ctx, "go", append(append([]string{"test", "-c", "-o", binary}, flags...), suite[0])...)
	build.Dir = b.root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", suite[0], err, output)
	}
	defer os.Remove(binary)
	args := []string{"-test.failfast", "-test.timeout", suiteTimeout.String()}
	for _, a := range suite[1:] {
		if a == "-run" {
			a = "-test.run"
		}
		args = append(args, a)
	}
	test := exec.CommandContext(ctx, binary, args...)
	test.Dir = filepath.Join(b.root, filepath.FromSlash(suite[0]))
	output, err := test.CombinedOutput()
	var failed *exec.ExitError
	if err == nil {
		if bytes.Contains(output, []byte("no tests to run")) {
			return "", fmt.Errorf("%s runs no test", strings.Join(suite, " "))
		}
		return "", nil
	}
	if !errors.As(err, &failed) || ctx.Err() != nil {
		return "", fmt.Errorf("run %s: %w", suite[0], errors.Join(ctx.Err(), err))
	}
	return string(output), nil
}

var (
	seedLine  = regexp.MustCompile(`seed (\d+): .*\n\s+at (.*)`)
	testLine  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	panicLine = regexp.MustCompile(`(?m)^(panic|fatal error): .*`)
)

// complaint finds in a suite's output what it saw first.
func complaint(output string) string {
	if m := seedLine.FindStringSubmatch(output); m != nil {
		return "seed " + m[1] + ", " + m[2]
	}
	// A subtest's line comes after its parent's and says more.
	if m := testLine.FindAllStringSubmatch(output, -1); m != nil {
		return m[len(m)-1][1]
	}
	return panicLine.FindString(output)
}
