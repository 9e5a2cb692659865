package main

import (
	"github.com/spf13/cobra"
)

func newFrameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "frame",
		Short: "Look at frames of Seata's protocol",
		Long: `frame shows what is in the frames of Seata's protocol, makes frames, and shows
live traffic. See docs/frame.md for the objects that it prints and reads.`,
		Example: `  echo dada0100000010001003010000000001 | qiao frame decode
  tcpdump -i lo -w - tcp port 8091 | qiao frame decode
  qiao frame proxy 127.0.0.1:8092 127.0.0.1:8091`,
		// How far from a command a mistyped one may be.
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFrameDecodeCommand(), newFrameEncodeCommand(), newFrameProxyCommand())
	return cmd
}
