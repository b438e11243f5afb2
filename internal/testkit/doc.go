// Package testkit is what tests of the data plane stand on: backends with bad
// manners, a client that sees an answer byte by byte, and a whole proxy on
// loopback in one call.
//
// Everything in it ends with the test that asked for it, and says so when
// something is left behind. It is imported by tests only.
package testkit
