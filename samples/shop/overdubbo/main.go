// Command overdubbo runs a service of the shop whose calls travel over Dubbo or
// Triple.
//
// Job: a service.Transport on dubbo-go, and the command that runs a service on it.
// Owner: samples/shop. It is a module of its own, since dubbo-go is heavy.
// It must not know: what the calls do.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/dubbogo/gost/log/logger"

	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger.SetLoggerLevel("warn")
	dubbo.Register(dubbo.Config{}) // makes the filters known to dubbo-go
	err := service.Main(ctx, os.Args[1:], os.Stdin, map[string]service.Transport{
		"dubbo": transport{overDubbo}, "triple": transport{overTriple},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
