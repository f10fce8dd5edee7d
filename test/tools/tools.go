//go:build tools

// Package tools names the commands that tests and demonstrations run, so that go.mod fixes their version.
package tools

import (
	_ "github.com/nsqio/nsq/apps/nsqd"
	_ "github.com/nsqio/nsq/apps/nsqlookupd"
)
