// Package web is what the handlers of both listeners have in common: what every
// request passes first, how a body is read, and the failures that end a request.
// What a failure looks like to its caller is each listener's own.
package web
