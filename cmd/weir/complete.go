package main

import (
	"context"
	"net/http"
	"time"

	"weir/pool"
)

// completeTimeout bounds what pressing the tab key may take.
const completeTimeout = 2 * time.Second

// runningBackends lists POOL/BACKEND of the running Weir. Completion has no
// way to say what went wrong: then it offers nothing.
func runningBackends(ctx context.Context, flags *adminFlags) []string {
	c, err := flags.client()
	if err != nil {
		return nil
	}
	if ctx == nil { // cobra completes without one
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	var list struct {
		Pools []pool.Status `json:"pools"`
	}
	if c.ask(ctx, question{method: http.MethodGet, path: "/v1/pools"}, &list) != nil {
		return nil
	}
	var names []string
	for _, p := range list.Pools {
		for _, b := range p.Backends {
			names = append(names, p.Name+"/"+b.Address)
		}
	}
	return names
}
