package manual_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A step is one thing that a reader does, or is thought to have done.
type step struct {
	line    int    // of the page
	command string // what is pasted
	shows   string // what then appears; nothing is said if it is empty
	status  int    // with which the command ends
	until   string // a URL: the command goes on, and this answers when it is far enough
	console bool   // what appears is both of its outputs
}

// A page is what is run of it, by scene.
type page struct {
	scenes   map[string][]*step
	unmarked []int // lines of blocks that look like commands and are not marked
}

// parser reads a page's lines downwards.
type parser struct {
	page
	lines []string
	next  int
	scene string // of the last step
	last  *step
}

var (
	anyMarker    = regexp.MustCompile(`^ *<!-- ((?:runs?|shows|file|more|not run)\b.*) -->$`)
	unseenMarker = regexp.MustCompile(`^runs unseen(?: in ([a-z]+))?: (.+)$`)
	fileMarker   = regexp.MustCompile(`^(file|more of) ([a-z./-]+)(?: in ([a-z]+))?$`)
	inScene      = regexp.MustCompile(`^in ([a-z]+)$`)
	untilAnswers = regexp.MustCompile(`^until (http\S+) answers$`)
	endsWith     = regexp.MustCompile(`^status ([0-9]+)$`)
	looksLikeOne = regexp.MustCompile(`^(\$ )?(sudo |bin/)*(make|docker|curl|tokensvc|helm|kubectl|git|npm|go|systemctl)\b`)
)

func parse(text string) (page, error) {
	p := &parser{page: page{scenes: map[string][]*step{}}, lines: lines(text)}
	for p.next < len(p.lines) {
		at := p.next
		if err := p.read(); err != nil {
			return page{}, fmt.Errorf("line %d: %w", at+1, err)
		}
	}
	return p.page, nil
}

// read takes the next marker, block or line.
func (p *parser) read() error {
	at := p.next
	marker := anyMarker.FindStringSubmatch(p.lines[at])
	if marker == nil {
		_, content, err := p.block()
		if err == nil && looksLikeOne.MatchString(content) {
			p.unmarked = append(p.unmarked, at+1)
		}
		if p.next == at {
			p.next++
		}
		return err
	}
	p.next++
	said := marker[1]
	switch word, rest, _ := strings.Cut(said, " "); {
	case unseenMarker.MatchString(said):
		found := unseenMarker.FindStringSubmatch(said)
		return p.add(found[1], &step{line: at + 1, command: found[2]})
	case strings.HasPrefix(said, "shows: ") && p.last != nil:
		p.last.shows = strings.ReplaceAll(strings.TrimPrefix(said, "shows: "), `\n`, "\n")
		return nil
	case word == "not": // the reason is for who reads the source
		_, _, err := p.mustBlock()
		return err
	case said == "shows":
		return p.show()
	case fileMarker.MatchString(said):
		return p.file(at+1, fileMarker.FindStringSubmatch(said))
	case said == "runs", word == "runs", word == "runs,":
		return p.runs(at+1, rest)
	}
	return fmt.Errorf("%q is not known", said)
}

func (p *parser) show() error {
	if p.last == nil {
		return fmt.Errorf("it shows what came of nothing")
	}
	_, content, err := p.mustBlock()
	p.last.shows = content
	return err
}

// file has the shell write the block into a file.
func (p *parser) file(line int, found []string) error {
	_, content, err := p.mustBlock()
	if err != nil {
		return err
	}
	into := map[string]string{"file": ">", "more of": ">>"}[found[1]]
	return p.add(found[3], &step{line: line, command: fmt.Sprintf("cat %s %s <<'END OF THE FILE'\n%sEND OF THE FILE", into, found[2], content)})
}

func (p *parser) runs(line int, options string) error {
	s, scene := &step{line: line}, ""
	for option := range strings.SplitSeq(options, ", ") {
		if found := inScene.FindStringSubmatch(option); found != nil {
			scene = found[1]
		} else if found := untilAnswers.FindStringSubmatch(option); found != nil {
			s.until = found[1]
		} else if found := endsWith.FindStringSubmatch(option); found != nil {
			s.status, _ = strconv.Atoi(found[1]) // digits, by the pattern
		} else if option != "" {
			return fmt.Errorf("%q is not known", option)
		}
	}
	language, content, err := p.mustBlock()
	if err != nil {
		return err
	}
	s.command = content
	if language != "console" {
		return p.add(scene, s)
	}
	return p.console(scene, s)
}

// console cuts a block into commands and what appears after each. The status is
// the last one's.
func (p *parser) console(scene string, s *step) error {
	if !strings.HasPrefix(s.command, "$ ") {
		return fmt.Errorf("a console without a $")
	}
	parts := strings.Split("\n"+s.command, "\n$ ")[1:]
	for i, part := range parts {
		command, appears, _ := strings.Cut(part, "\n")
		one := &step{line: s.line, command: command, shows: appears, console: true}
		if i == len(parts)-1 {
			one.status = s.status
		}
		if err := p.add(scene, one); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) add(scene string, s *step) error {
	if scene != "" {
		p.scene = scene
	}
	if p.scene == "" {
		return fmt.Errorf("it is not said in which scene")
	}
	p.scenes[p.scene], p.last = append(p.scenes[p.scene], s), s
	return nil
}

func (p *parser) mustBlock() (language, content string, err error) {
	for p.next < len(p.lines) && strings.TrimSpace(p.lines[p.next]) == "" {
		p.next++
	}
	if p.next < len(p.lines) {
		language, content, err = p.block()
	}
	if err == nil && content == "" {
		err = fmt.Errorf("no block follows")
	}
	return language, content, err
}

// block takes a fence or an indented block, if there is one here.
func (p *parser) block() (language, content string, err error) {
	line := p.lines[p.next]
	trimmed := strings.TrimLeft(line, " ")
	if fence, ok := strings.CutPrefix(trimmed, "```"); ok {
		content, err = p.fence(len(line) - len(trimmed))
		return fence, content, err
	}
	return "", p.indented(), nil
}

func (p *parser) fence(indent int) (content string, err error) {
	var b strings.Builder
	for p.next++; p.next < len(p.lines); p.next++ {
		line := p.lines[p.next]
		line = line[min(indent, len(line)-len(strings.TrimLeft(line, " "))):]
		if line == "```" {
			p.next++
			return b.String(), nil
		}
		b.WriteString(line + "\n")
	}
	return "", fmt.Errorf("the block has no end")
}

func (p *parser) indented() string {
	var b strings.Builder
	for ; p.next < len(p.lines); p.next++ {
		line, ok := strings.CutPrefix(p.lines[p.next], "    ")
		if !ok {
			break
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
