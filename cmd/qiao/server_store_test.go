package main

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage"
)

// The coordinator gets the embedded store as it is: no goroutine waits for a Batch.
func TestTheEmbeddedStoreTakesBatchesWithoutWaiting(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	opened, err := openStore(t.Context(), &cfg, "127.0.0.1:8091", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer opened.store.Close()
	require.Implements(t, (*storage.Submitter)(nil), opened.store)
	require.True(t, opened.sole)
}
