package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/samples/shop/play"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

func TestCommandLinesThatAreWrong(t *testing.T) {
	for args, want := range map[string]string{
		"--rpc pigeon":             `--rpc "pigeon": want one of http`,
		"--mode 2pc":               `no mode "2pc"`,
		"--java bakery":            `--java "bakery": want some of order,stock,account,points, or all`,
		"--mode saga --java all":   "order cannot be in Java in mode saga",
		"--jawa all":               "unknown flag: --jawa (see --help)",
		"stock":                    `unexpected argument "stock" (see --help)`,
		"service --service bakery": `no service "bakery"`,
		"service --rpc pigeon":     `no --rpc "pigeon"`,
		"service --mode 2pc":       `no mode "2pc"`,
	} {
		cmd := newCommand()
		cmd.SetIn(neverEnding{})
		cmd.SetOut(new(bytes.Buffer))
		cmd.SetErr(new(bytes.Buffer))
		cmd.SetArgs(strings.Fields(args))
		err := cmd.ExecuteContext(t.Context())
		assert.ErrorContains(t, err, want)
		assert.True(t, errors.As(err, new(usageError)) || errors.Is(err, play.ErrUsage) || errors.Is(err, service.ErrUsage), "%s: exit code 2", args)
	}
}

// The report is one JSON object, and the story goes elsewhere.
func TestTheReportAsJSON(t *testing.T) {
	cmd := newCommand()
	var out, notes bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SetArgs([]string{"--json", "--no-kill"})
	require.NoError(t, cmd.ExecuteContext(t.Context()), "%s", &notes)
	var report play.Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &report), "%s", &out)
	assert.True(t, report.Consistent)
	assert.Len(t, report.Orders, 4)
	assert.Contains(t, notes.String(), "consistent: yes")
}

// neverEnding is a standard input that a parent holds open.
type neverEnding struct{}

func (neverEnding) Read([]byte) (int, error) { select {} }
