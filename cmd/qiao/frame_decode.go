package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/pcap"
	"github.com/qiao-tx/qiao/internal/wiretap"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/wiretext"
)

// maxLine is the longest line of input: the longest frame in hex, and then some.
const maxLine = 64 << 20

func newFrameDecodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "decode",
		Short: "Print frames as JSON, one object a line",
		Long: `decode reads frames from standard input: as hex, one or more a line, with or
without blanks; or a capture (pcap or pcapng, of Ethernet, loopback or "any"), in
which it finds the connections that speak Seata's protocol. It prints one JSON
object for each frame. Where bytes cannot be read, the object says so: error, and
the offset of the byte that is wrong, from the start of the line or of the
connection's direction.

The exit code is 1 when any frame could not be read.`,
		Example: `  echo 'dada0100000010001003010000000001' | qiao frame decode
  qiao frame decode < capture.pcap | jq 'select(.type == "GlobalCommit")'
  tcpdump -i any -U -w - tcp port 8091 | qiao frame decode`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := frameDecoder{out: newObjectWriter(cmd.OutOrStdout())}
			if err := d.run(bufio.NewReaderSize(cmd.InOrStdin(), 64<<10), cmd.ErrOrStderr()); err != nil {
				return err
			}
			if d.failed > 0 {
				return fmt.Errorf("%d of %d frames could not be read; their objects say why", d.failed, d.failed+d.decoded)
			}
			return nil
		},
	}
}

// origin is where a frame was seen. Commands fill in what they know.
type origin struct {
	Time       string `json:"time,omitempty"`
	Connection int    `json:"connection,omitempty"`
	Direction  string `json:"direction,omitempty"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Line       int    `json:"line,omitempty"`
}

// frameObject is a frame, failureObject what stands for one that cannot be read.
type frameObject struct {
	origin
	*wiretext.Frame
}

type failureObject struct {
	origin
	Error  string `json:"error"`
	Offset int64  `json:"offset"`
}

func failureOf(o origin, p wiretap.Piece, err error) failureObject {
	offset := p.Offset
	var where *rpc.FrameError
	if errors.As(err, &where) {
		offset += int64(where.Offset)
	}
	return failureObject{o, err.Error(), offset}
}

// timeText is a time as objects and lines have it.
func timeText(t time.Time) string { return t.Format("2006-01-02T15:04:05.000000Z07:00") }

// newObjectWriter writes one JSON object a line.
func newObjectWriter(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// frameDecoder prints the frames of an input and counts them.
type frameDecoder struct {
	out             *json.Encoder
	translator      wiretext.Translator
	decoded, failed int
	err             error // of printing
}

func (d *frameDecoder) run(in *bufio.Reader, notes io.Writer) error {
	start, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("standard input: %w", err)
	}
	if pcap.IsFile(start) {
		return d.capture(in, notes)
	}
	return d.lines(in)
}

// piece prints a piece of a stream.
func (d *frameDecoder) piece(o origin, p wiretap.Piece) {
	if p.Err != nil {
		d.fail(failureOf(o, p, p.Err))
		return
	}
	f, err := d.translator.Decode(p.Frame)
	if err != nil {
		d.fail(failureOf(o, p, err))
		return
	}
	d.decoded++
	d.err = errors.Join(d.err, d.out.Encode(frameObject{o, f}))
}

func (d *frameDecoder) fail(o failureObject) {
	d.failed++
	d.err = errors.Join(d.err, d.out.Encode(o))
}

// lines reads hex.
func (d *frameDecoder) lines(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	number := 0
	for lines.Scan() && d.err == nil {
		number++
		d.line(number, lines.Text())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input, line %d: %w", number+1, err)
	}
	return d.err
}

func (d *frameDecoder) line(number int, text string) {
	o := origin{Line: number}
	digits := strings.Join(strings.Fields(text), "")
	b := make([]byte, hex.DecodedLen(len(digits)))
	n, err := hex.Decode(b, []byte(digits))
	switch {
	case errors.Is(err, hex.ErrLength):
		err = fmt.Errorf("an odd number of hex digits, %d: two make a byte", len(digits))
	case err != nil:
		const hexOrBlank = "0123456789abcdefABCDEF \t\r\n\v\f"
		column := strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(hexOrBlank, r) })
		err = fmt.Errorf("column %d is no hex digit: %w", column+1, err)
	}
	var stream wiretap.Stream
	show := func(p wiretap.Piece) { d.piece(o, p) }
	stream.Feed(b[:n], show)
	if err != nil {
		d.fail(failureObject{o, err.Error(), int64(n)})
		return
	}
	stream.Close(show)
}

// capture reads a pcap file.
func (d *frameDecoder) capture(in io.Reader, notes io.Writer) error {
	type direction struct{ from, to netip.AddrPort }
	streams := make(map[direction]*wiretap.Stream)
	foreign := 0
	counts, err := pcap.Read(in, func(data pcap.Data) {
		key := direction{data.From, data.To}
		stream := streams[key]
		if stream == nil {
			stream = new(wiretap.Stream)
			streams[key] = stream
		}
		o := origin{Time: timeText(data.At.UTC()), From: data.From.String(), To: data.To.String()}
		show := func(p wiretap.Piece) {
			if errors.Is(p.Err, wiretap.ErrForeign) {
				foreign++ // other programs' connections may be captured too
				return
			}
			d.piece(o, p)
		}
		if data.Gap {
			stream.Skip(data.Missing, show)
		}
		stream.Feed(data.Bytes, show)
		if data.End {
			stream.Close(show)
			delete(streams, key)
		}
	})
	fmt.Fprintf(notes, "%d packets; %d of them are not TCP over IP, or fragments; %d directions of connections speak another protocol\n",
		counts.Packets, counts.Other, foreign)
	return errors.Join(err, d.err)
}
