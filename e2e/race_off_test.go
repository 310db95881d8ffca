//go:build !race

package e2e_test

// binary is the relay built like the tests that run it: without the race
// detector, which needs a C compiler that not every machine with Go has.
var binary = plainBinary
