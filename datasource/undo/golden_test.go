package undo

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/compress"
)

// captured is one row of undo_log as Java Seata 2.5.0 wrote it, decompressed.
type captured struct {
	File, Scenario, Context string
	Status                  int
	Content                 []byte
}

func capturedRows(t testing.TB) []captured {
	t.Helper()
	var rows []captured
	for _, name := range []string{"undo-jackson.jsonl", "undo-jackson-zip.jsonl"} {
		f, err := os.Open(filepath.Join("testdata", name))
		require.NoError(t, err)
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line struct {
				Scenario string `json:"scenario"`
				UndoLog  []struct {
					Context string `json:"context"`
					Status  int    `json:"log_status"`
					Hex     string `json:"rollback_info_hex"`
				} `json:"undo_log"`
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
			for _, u := range line.UndoLog {
				content, err := hex.DecodeString(u.Hex)
				require.NoError(t, err)
				if strings.Contains(u.Context, "compressorType=ZIP") {
					var p compress.Pool
					content, err = p.Expand(nil, compress.Zip, content, MaxSize)
					require.NoError(t, err)
				}
				rows = append(rows, captured{name, line.Scenario, u.Context, u.Status, content})
			}
		}
		require.NoError(t, lines.Err())
	}
	require.Len(t, rows, 14)
	return rows
}

func isTyped(err error) bool {
	return errors.Is(err, ErrUndecodable) || errors.Is(err, ErrForeign)
}
