package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/yaml"
)

// An outcome is what the output of a run of the suite says, line by line (`go test -v`).
type outcome struct {
	passed, skipped int
	failed          []string          // tests, in the order of their ends
	errors          map[string]string // first error of a test, by test; of the suite itself: ""

	last    map[string]string // newest line of a test's log, by test: of a failed one often its reason
	current string            // test whose lines these are
	inError bool              // they are fields of its first error
}

var (
	nameLine   = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+TestConformance(?:/([^/\s]+))?`)
	resultLine = regexp.MustCompile(`^=== (PASS|FAIL|SKIP)\s+(\S+)$`) // of package suite
	logLine    = regexp.MustCompile(`^\s+\S+\.go:\d+: \S`)
	cleanUp    = regexp.MustCompile(`^\s+apply\.go:`) // comes after the reason
	// A field of an error as testify writes it; without a name it goes on with the one before.
	errorField = regexp.MustCompile(`^\s+\t(Error Trace:|Error:|Test:|Messages:|)\s+\t(.*)`)
)

const maxErrorText = 600 // bytes of an error that are shown

// add takes the next line. It returns the name of a test that has failed with it.
func (o *outcome) add(line string) (failed string) {
	line = strings.TrimRight(line, "\n")
	if m := nameLine.FindStringSubmatch(line); m != nil {
		o.current, o.inError = m[1], false
		return ""
	}
	if m := resultLine.FindStringSubmatch(line); m != nil {
		switch m[1] {
		case "PASS":
			o.passed++
		case "SKIP":
			o.skipped++
		case "FAIL":
			o.failed = append(o.failed, m[2])
			return m[2]
		}
		return ""
	}
	o.addError(line)
	return ""
}

func (o *outcome) addError(line string) {
	if o.errors == nil {
		o.errors, o.last = map[string]string{}, map[string]string{}
	}
	m := errorField.FindStringSubmatch(line)
	if m == nil {
		o.inError = false
		if logLine.MatchString(line) && !cleanUp.MatchString(line) {
			o.last[o.current] = strings.TrimSpace(line)
		}
		return
	}
	text := o.errors[o.current]
	switch name := m[1]; {
	case name == "Error:":
		o.inError = text == ""
	case name == "Messages:" && o.inError:
		m[2] = "| " + m[2]
	case name != "":
		return
	}
	if o.inError && len(text) < maxErrorText {
		o.errors[o.current] = strings.TrimSpace(text + " " + strings.TrimSpace(m[2]))
	}
}

func (o *outcome) print(w io.Writer) {
	const counts = "\n%d tests passed, %d failed, %d were skipped (of service meshes, or of features that are not claimed)\n"
	_, _ = fmt.Fprintf(w, counts, o.passed, len(o.failed), o.skipped)
	if text := o.errors[""]; text != "" {
		_, _ = fmt.Fprintf(w, "FAIL before the tests: %s\n", text)
	}
	for _, name := range o.failed {
		text := o.errors[name]
		if text == "" {
			text = o.last[name]
		}
		_, _ = fmt.Fprintf(w, "FAIL %s: %s\n", name, text)
	}
}

// printReport tells the counts of each profile from the report that the suite has written. A
// test can count in more than one profile.
func printReport(w io.Writer, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err // the suite did not come to its end
	}
	var report confv1.ConformanceReport
	if err := yaml.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	slices.SortFunc(report.ProfileReports, func(a, b confv1.ProfileReport) int { return strings.Compare(a.Name, b.Name) })
	const row = "%-14s %-9s %7v %7v %7v\n"
	_, _ = fmt.Fprintf(w, "\nGateway API %s, %s channel\n", report.GatewayAPIVersion, report.GatewayAPIChannel)
	_, _ = fmt.Fprintf(w, row, "profile", "tests", "passed", "failed", "skipped")
	for _, p := range report.ProfileReports {
		core := p.Core.Statistics
		_, _ = fmt.Fprintf(w, row, p.Name, "core", core.Passed, core.Failed, core.Skipped)
		if p.Extended == nil {
			continue
		}
		extended := p.Extended.Statistics
		_, _ = fmt.Fprintf(w, row, "", "extended", extended.Passed, extended.Failed, extended.Skipped)
		if missing := p.Extended.UnsupportedFeatures; len(missing) > 0 {
			_, _ = fmt.Fprintf(w, "%14s features that are not claimed: %s\n", "", strings.Join(missing, ", "))
		}
	}
	return nil
}
