package distribution

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fences   = regexp.MustCompile("(?s)\n```.*?\n```")
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchors  = regexp.MustCompile(`<a id="([^"]+)">`)
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks: what the pages link to is there: files of the checkout, and headings of
// pages. Pages that nothing links to are not found by anybody.
func TestLinks(t *testing.T) {
	tracked, err := exec.Command("git", "-C", root(t), "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Skip("the checkout has no git: ", err)
	}
	linked := map[string]bool{}
	for page := range strings.FieldsSeq(string(tracked)) {
		if strings.Contains(page, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllStringSubmatch(fences.ReplaceAllString("\n"+string(text), ""), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") || strings.HasPrefix(path, "mailto:") {
				continue
			}
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			linked[to] = true
			content, err := os.ReadFile(filepath.Join(root(t), to))
			if _, missing := os.Stat(filepath.Join(root(t), to)); missing != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if err == nil && anchor != "" && !hasAnchor(string(content), anchor) {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
	pages, err := filepath.Glob(filepath.Join(root(t), "docs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := "docs/" + filepath.Base(page); !linked[name] {
			t.Errorf("nothing links to %s", name)
		}
	}
}

// hasAnchor says whether a page has a heading that GitHub gives this anchor.
func hasAnchor(page, anchor string) bool {
	for _, m := range anchors.FindAllStringSubmatch(page, -1) {
		if m[1] == anchor {
			return true
		}
	}
	for _, m := range headings.FindAllStringSubmatch(fences.ReplaceAllString(page, ""), -1) {
		slug := strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		if slug == anchor {
			return true
		}
	}
	return false
}
