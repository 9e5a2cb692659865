package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// parallel is how many mutants are built and run at once.
const parallel = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(1)
	}
}

// run tries the mutants whose names contain one of the words, or all, and
// prints a table. The error says which were not caught.
func run(ctx context.Context, words []string, out io.Writer) error {
	all, err := load()
	if err != nil {
		return err
	}
	chosen := choose(all, words)
	if len(chosen) == 0 {
		return fmt.Errorf("no mutant's name contains %q", words)
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{root: root, dir: dir}
	began := time.Now()
	if err := checkSuites(ctx, b, chosen, out); err != nil {
		return err
	}
	verdicts, err := tryAll(ctx, b, chosen, out)
	if err != nil {
		return err
	}
	return report(out, chosen, verdicts, time.Since(began))
}

func choose(all []mutant, words []string) []mutant {
	if len(words) == 0 {
		return all
	}
	var chosen []mutant
	for _, m := range all {
		for _, w := range words {
			if strings.Contains(m.name, w) {
				chosen = append(chosen, m)
				break
			}
		}
	}
	return chosen
}

func moduleRoot(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(mod))), nil
}

// checkSuites runs each suite once without a mutant.
func checkSuites(ctx context.Context, b *bench, mutants []mutant, out io.Writer) error {
	done := make(map[string]bool)
	for _, m := range mutants {
		key := strings.Join(m.suite, " ")
		if done[key] {
			continue
		}
		done[key] = true
		if err := b.sound(ctx, m.suite); err != nil {
			return err
		}
		fmt.Fprintf(out, "passes without a mutant: %s\n", key)
	}
	return nil
}

// tryAll tries the mutants, some at once, and says how each went.
func tryAll(ctx context.Context, b *bench, mutants []mutant, out io.Writer) ([]verdict, error) {
	verdicts := make([]verdict, len(mutants))
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	tried := 0
	for range parallel {
		workers.Go(func() {
			for i := range next {
				v, err := b.try(ctx, i, &mutants[i])
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
					v.by = "no verdict"
				}
				verdicts[i] = v
				tried++
				fmt.Fprintf(out, "%2d/%d %5.1f s  %s: %.100s\n", tried, len(mutants), v.took.Seconds(), mutants[i].name, v.by)
				mu.Unlock()
			}
		})
	}
	for i := range mutants {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return verdicts, errors.Join(append(failed, ctx.Err())...)
}

// report prints the table.
func report(out io.Writer, mutants []mutant, verdicts []verdict, took time.Duration) error {
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "mistake\tin\tsuite\tcaught by")
	var survivors []string
	for i, m := range mutants {
		if !verdicts[i].caught {
			survivors = append(survivors, m.name)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.70s\n", m.name, m.file, strings.Join(m.suite, " "), verdicts[i].by)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d of %d caught in %s\n", len(mutants)-len(survivors), len(mutants), took.Round(time.Second))
	if len(survivors) > 0 {
		return fmt.Errorf("not caught: %s", strings.Join(survivors, "; "))
	}
	return nil
}
