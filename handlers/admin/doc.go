// Package admin is the operator's own listener: probes, metrics, and pages that tell
// what happened to mails and let an operator look at the templates.
package admin
