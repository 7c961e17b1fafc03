package main

import "time"

// now is the clock of every part that is wired here. It has a file of its own
// because the reliability tests build the program with another in its place,
// which can be moved; the program itself has no such knob.
func now() time.Time { return time.Now() }
