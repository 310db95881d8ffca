//go:build race

package e2e_test

// binary is the relay built like the tests that run it: with the race detector.
var binary = builder("-race")
