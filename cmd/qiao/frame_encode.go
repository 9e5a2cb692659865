package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/protocol/wiretext"
)

func newFrameEncodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "encode",
		Short: "Turn JSON objects into frames, in hex",
		Long: `encode is the inverse of decode: it reads JSON objects from standard input, one a
line, and prints each as a frame in hex. What is left out is zero, but for
version and codec, which are 1, and message_type, which follows from type. Values
of enumerations are names or numbers. Members of decode's objects that say where a
frame was seen are passed over.

The exit code is 1 when any object makes no frame; standard error says which, and
why.`,
		Example: `  echo '{"type":"GlobalBegin","request_id":1,"body":{"timeoutMs":60000,"name":"trial"}}' | qiao frame encode
  qiao frame decode < frames.txt | sed 's/"name":"trial"/"name":"test"/' | qiao frame encode`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return encodeFrames(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func encodeFrames(in io.Reader, out, notes io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	var translator wiretext.Translator
	var b []byte
	number, objects, failed := 0, 0, 0
	for lines.Scan() {
		number++
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		objects++
		var err error
		if b, err = translator.Encode(b[:0], lines.Bytes()); err != nil {
			failed++
			fmt.Fprintf(notes, "line %d: %v\n", number, err)
			continue
		}
		if _, err := fmt.Fprintln(out, hex.EncodeToString(b)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input, line %d: %w", number+1, err)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d objects make no frame", failed, objects)
	}
	return nil
}
