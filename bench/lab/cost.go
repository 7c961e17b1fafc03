package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of processor time in /proc: USER_HZ, which is 100 wherever Go runs.
const tick = 10 * time.Millisecond

// CPU is how long processors have worked for it so far, the kernel included.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything. What follows starts with
	// field 3; utime and stime are 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("lab: /proc has another form here")
	}
	user, errUser := strconv.ParseInt(string(fields[11]), 10, 64)
	system, errSystem := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * tick, errors.Join(errUser, errSystem)
}

// Memory is what it has of the machine's memory now, and the most that it ever had,
// in bytes.
func (p *Process) Memory() (now, most int64, err error) {
	status, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kilobytes, _ := strconv.ParseInt(string(fields[1]), 10, 64) // of the lines that count it is one
		switch string(fields[0]) {
		case "VmRSS:":
			now = kilobytes << 10
		case "VmHWM:":
			most = kilobytes << 10
		}
	}
	if now == 0 {
		return 0, 0, errors.New("lab: /proc has another form here")
	}
	return now, most, nil
}

func (p *Process) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file)
}

// A Meter reads what processes cost from when it was made.
type Meter struct {
	processes []*Process
	before    []time.Duration
}

// Measure starts to measure these.
func Measure(processes ...*Process) (*Meter, error) {
	m := &Meter{processes: processes}
	var err error
	m.before, err = m.read()
	return m, err
}

// Spent is the processor time of each, since.
func (m *Meter) Spent() ([]time.Duration, error) {
	now, err := m.read()
	for i := range now {
		now[i] -= m.before[i]
	}
	return now, err
}

func (m *Meter) read() ([]time.Duration, error) {
	all := make([]time.Duration, len(m.processes))
	for i, p := range m.processes {
		var err error
		if all[i], err = p.CPU(); err != nil {
			return nil, err
		}
	}
	return all, nil
}
