//go:build linux

package compat

import (
	"flag"
	"strings"
	"testing"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// The defaults are the short form.
var (
	clientsFlag      = flag.String("clients", "1.4.2,2.6.0", "the versions of clients to run, separated by commas, or all")
	coordinatorsFlag = flag.String("coordinators", kindQiao, "the coordinators to run them on: qiao, java, or qiao,java")
	onlyFlag         = flag.String("only", "", "carry out only the steps whose name contains this; nothing is compared")
)

func TestClients(t *testing.T) {
	testenv.NeedJava(t)
	chosen := strings.Split(*clientsFlag, ",")
	if *clientsFlag == "all" {
		chosen = versions
	}
	for _, kind := range strings.Split(*coordinatorsFlag, ",") {
		tc, batching := start(t, kind, false), start(t, kind, true)
		for _, version := range chosen {
			t.Run(version+" on "+kind, func(t *testing.T) {
				r := newRun(t, version, tc)
				r.scenario(batching)
			})
		}
	}
}
