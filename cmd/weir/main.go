// Command weir is the load balancer Weir and the tools around it: weir run
// serves, the other commands talk to a running Weir over its admin API or
// look at a configuration file.
//
// This package reads flags, wires the other packages together and prints. It
// decides nothing about traffic.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
