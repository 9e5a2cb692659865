package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/server/servertest"
)

func TestMain(m *testing.M) {
	quiet()
	os.Exit(m.Run())
}

// Each protocol once in a process: dubbo-go never forgets an interface that it has
// served.

func TestOverDubbo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, "dubbo", servertest.Start(t), t.TempDir()), &out)
	assert.Contains(t, out.String(), "not enough in stock")
	assert.Contains(t, out.String(), "consistent: yes")
}

// As a reader runs it, with a coordinator of its own, built from this checkout.
func TestOverTriple(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, start(t.Context(), &out, "triple", ""), &out)
	assert.Contains(t, out.String(), "not enough in stock")
	assert.Contains(t, out.String(), "consistent: yes")
}

func TestAnUnknownProtocol(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), &bytes.Buffer{}, "soap", "127.0.0.1:1", t.TempDir()), "want dubbo or triple")
}
