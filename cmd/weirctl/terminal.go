package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// isTerminal says whether somebody sits at a file.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// terminalSize is that of a terminal, in characters.
func terminalSize(f any) (width, height int) {
	if file, ok := f.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			return int(size.Col), int(size.Row)
		}
	}
	return 80, 24
}

// person answers questions at a terminal.
type person struct {
	in  *bufio.Reader
	out io.Writer
}

// newPerson is nil where standard input is no terminal. Questions go to standard
// error, so that what is printed can be piped.
func newPerson(c *cobra.Command) *person {
	if !isTerminal(c.InOrStdin()) {
		return nil
	}
	return &person{bufio.NewReader(c.InOrStdin()), c.ErrOrStderr()}
}

var errNoAnswer = errors.New("no answer")

// ask is true for yes. Without an answer until the deadline, if there is one, the
// error is errNoAnswer; the person cannot be asked again after it.
func (p *person) ask(question string, deadline time.Time) (bool, error) {
	fmt.Fprint(p.out, question)
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := p.in.ReadString('\n')
		answers <- answer{line, err}
	}()
	var late <-chan time.Time
	if !deadline.IsZero() {
		late = time.After(time.Until(deadline))
	}
	select {
	case a := <-answers:
		if a.err != nil {
			fmt.Fprintln(p.out)
			return false, fmt.Errorf("read the answer: %w", a.err)
		}
		word := strings.ToLower(strings.TrimSpace(a.line))
		return word == "y" || word == "yes", nil
	case <-late:
		fmt.Fprintln(p.out)
		return false, errNoAnswer
	}
}
