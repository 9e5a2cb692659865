package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/wiretap"
	"github.com/qiao-tx/qiao/protocol/wiretext"
)

func newFrameProxyCommand() *cobra.Command {
	var asJSON, insecure bool
	cmd := &cobra.Command{
		Use:   "proxy LISTEN TARGET",
		Short: "Forward connections and show what passes",
		Long: `proxy listens at LISTEN, forwards each connection to TARGET, and prints what
passes: a line for each message, → to the target and ← from it, with names instead
of numbers. Point a client at LISTEN instead of its coordinator. Everything is
forwarded as it came, whether it can be read or not.

A coordinator answers clients as its own address says; the proxy sees one
connection of each client that was pointed at it. Messages hold credentials when
clients send them, and so does what is printed.

An interrupt ends it and closes the connections.`,
		Example: `  qiao frame proxy 127.0.0.1:8092 127.0.0.1:8091
  qiao frame proxy --json 127.0.0.1:8092 tc.internal:8091 > traffic.jsonl`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("%s takes LISTEN and TARGET, each host:port (see %q)", cmd.CommandPath(), cmd.CommandPath()+" --help")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkProxyAddresses(args[0], args[1], insecure); err != nil {
				return usageError{err}
			}
			listener, err := net.Listen("tcp", args[0])
			if err != nil {
				return fmt.Errorf("listen on %s: %w; choose another LISTEN address", args[0], err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "forwarding %s to %s\n", listener.Addr(), args[1])
			printer := trafficPrinter{out: cmd.OutOrStdout(), objects: newObjectWriter(cmd.OutOrStdout()), asJSON: asJSON}
			proxy := wiretap.Proxy{Target: args[1], Show: printer.show}
			return errors.Join(proxy.Serve(cmd.Context(), listener), printer.err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON objects, one a line, as decode does")
	cmd.Flags().BoolVar(&insecure, "insecure-listen", false, "allow a LISTEN address that others can reach")
	return cmd
}

func checkProxyAddresses(listen, target string, insecure bool) error {
	for name, address := range map[string]string{"LISTEN": listen, "TARGET": target} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%s %q: want host:port, such as 127.0.0.1:8092", name, address)
		}
	}
	host, _, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); !insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("LISTEN %s: whoever reaches this address reaches %s; listen on a loopback address, or say --insecure-listen where the network itself is trusted", listen, target)
	}
	return nil
}

// trafficPrinter prints what a proxy shows.
type trafficPrinter struct {
	out        io.Writer
	objects    *json.Encoder
	asJSON     bool
	translator wiretext.Translator
	err        error // of printing
}

func (p *trafficPrinter) show(e wiretap.Event) {
	if p.err != nil {
		return // forwarding goes on
	}
	if p.asJSON {
		p.err = p.object(e)
		return
	}
	arrow := "→"
	if e.Direction == wiretap.FromTarget {
		arrow = "←"
	}
	if e.Note != "" {
		arrow = "·"
	}
	head := fmt.Sprintf("%s #%d %s ", e.At.Format("15:04:05.000000"), e.Connection, arrow)
	for _, line := range p.lines(e) {
		if _, err := io.WriteString(p.out, head+line+"\n"); err != nil {
			p.err = err
			return
		}
	}
}

func (p *trafficPrinter) lines(e wiretap.Event) []string {
	if e.Note != "" {
		return []string{e.Note}
	}
	f, err := p.read(e.Piece, p.translator.Read)
	if err != nil {
		at := failureOf(origin{}, e.Piece, err)
		return []string{fmt.Sprintf("unreadable at byte %d: %s", at.Offset, strings.ReplaceAll(at.Error, "\n", " "))}
	}
	return f.Lines()
}

func (p *trafficPrinter) read(piece wiretap.Piece, translate func([]byte) (*wiretext.Frame, error)) (*wiretext.Frame, error) {
	if piece.Err != nil {
		return nil, piece.Err
	}
	return translate(piece.Frame)
}

// object prints an event as JSON. Connections that open and close are objects
// too, with a note.
func (p *trafficPrinter) object(e wiretap.Event) error {
	o := origin{Time: timeText(e.At), Connection: e.Connection, Direction: "c2s"}
	if e.Direction == wiretap.FromTarget {
		o.Direction = "s2c"
	}
	if e.Note != "" {
		o.Direction = ""
		return p.objects.Encode(struct {
			origin
			Note string `json:"note"`
		}{o, e.Note})
	}
	f, err := p.read(e.Piece, p.translator.Decode)
	if err != nil {
		return p.objects.Encode(failureOf(o, e.Piece, err))
	}
	return p.objects.Encode(frameObject{o, f})
}
