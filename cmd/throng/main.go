// Command throng is the load-testing tool with the ready-made scenarios.
package main

import (
	"github.com/throng-load/throng/cmd"
	"github.com/throng-load/throng/scenarios/classroom"
)

func main() { cmd.Main(classroom.Scenario) }
