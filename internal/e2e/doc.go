// Package e2e tests the binary: weir as a child process with a configuration
// on disk, nginx and worse behind it, load in front, signals, kills.
//
// The tests need the build tag e2e and Linux; those that want nginx say so
// and are skipped without it:
//
//	go test -tags e2e ./internal/e2e/
//	go test -tags e2e -short ./internal/e2e/   # smaller numbers
package e2e
