// Package e2e tests the binary: weir as a child process with a configuration
// on disk, nginx and worse behind it, load in front, signals, kills.
//
// The tests need the build tag e2e and Linux; those that want nginx say so
// and are skipped without it:
//
//	go test -tags e2e -count=1 ./internal/e2e/
//	go test -tags e2e -count=1 -short ./internal/e2e/   # smaller numbers
//
// The long run of upgrades under load:
//
//	WEIR_UPGRADES=20 go test -tags e2e -count=1 -run TestUpgradeUnderLoad -v ./internal/e2e/
//
// -count=1 because the Go tool does not know that the result depends on the
// binary. With GOFLAGS=-race in the environment the binary has the race
// detector, too.
package e2e
