package auth

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sum is salt and sum of a bcrypt hash of which nobody needs the password.
const sum = "zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy"

func TestParseHtpasswd(t *testing.T) {
	u := parse(t, "# users", "", "a:$2a$04$"+sum, "  b:$2b$10$"+sum+"  ", "c:$2y$16$"+sum+"\r")
	if got := slices.Sorted(maps.Keys(u.hashes)); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Error(got)
	}
	if string(u.hashes["c"]) != "$2y$16$"+sum || u.cost != 16 {
		t.Errorf("%s, cost %d", u.hashes["c"], u.cost)
	}
}

func TestParseHtpasswdRefuses(t *testing.T) {
	good := "ada:$2y$04$" + sum
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "f: no user in it"},
		{"comments alone", "# none\n\n", "f: no user in it"},
		{"no hash", good + "\nbob\n", "f:2: want name:hash, as htpasswd -nB makes it"},
		{"no name", ":$2y$04$" + sum, "f:1: want name:hash, as htpasswd -nB makes it"},
		{"clear text", "bob:secret", `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"md5", "bob:$apr1$x$y", `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"sha", "bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"an old bcrypt", "bob:$2x$04$" + sum, `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"cut", "bob:$2y$04$" + sum[1:], `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"more behind it", good + ":x", `f:1: user "ada": the hash is not bcrypt: make one with htpasswd -nB ada`},
		{"another alphabet", "bob:$2y$04$" + sum[:20] + "+" + sum[21:], `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"no cost", "bob:$2y$xx$" + sum, `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"too cheap", "bob:$2y$03$" + sum, `f:1: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`},
		{"too dear", "bob:$2y$17$" + sum, `f:1: user "bob": the cost of the hash is 17, at most 16 is accepted: make one with htpasswd -nB bob`},
		{"twice", good + "\n\n" + good, `f:3: user "ada" is there twice`},
		{"a long line", good + "\n#" + strings.Repeat("x", 1<<20), "f: bufio.Scanner: token too long"},
		{"a long file", good + strings.Repeat("\n# x", 1<<20), "f: at most 4194304 bytes are read"},
	} {
		u, err := ParseHtpasswd(strings.NewReader(c.text), "f")
		if err == nil || err.Error() != c.want || u != nil {
			t.Errorf("%s: %v; want %s", c.name, err, c.want)
		}
	}
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := (BasicConfig{}).Open(); u != nil || err != nil {
		t.Errorf("nothing configured: %v, %v", u, err)
	}
	write(line(t, "bob", "b") + "\n")
	u, err := BasicConfig{Users: []string{line(t, "ada", "a")}, UsersFile: file}.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ada", "bob"} {
		if ok, err := u.Verify(t.Context(), name, name[:1]); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}

	good := "ada:$2y$04$" + sum
	write("# nobody\n")
	for _, c := range []struct {
		config BasicConfig
		want   string
	}{
		{BasicConfig{Users: []string{""}}, "users: no user in it"},
		{BasicConfig{Users: []string{good, "x"}}, "users:2: want name:hash, as htpasswd -nB makes it"},
		{BasicConfig{UsersFile: file}, file + ": no user in it"},
		{BasicConfig{UsersFile: file + ".no"}, "usersFile: open " + file + ".no: no such file or directory"},
		{BasicConfig{UsersFile: filepath.Dir(file)}, filepath.Dir(file) + ": read " + filepath.Dir(file) + ": is a directory"},
	} {
		if u, err := c.config.Open(); u != nil || err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.config, err, c.want)
		}
	}
	write(good)
	if _, err := (BasicConfig{Users: []string{good}, UsersFile: file}).Open(); err == nil || err.Error() != file+`:1: user "ada" is there twice` {
		t.Error(err)
	}
}

func TestGenerate(t *testing.T) {
	made, err := Generate("ada", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	u := parse(t, made)
	if ok, err := u.Verify(t.Context(), "ada", "correct horse"); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	for _, user := range []string{"", "a:b", "a\nb", "a\r", "#a", " a", "a "} {
		if made, err := Generate(user, "x"); err == nil {
			t.Errorf("%q: %s", user, made)
		}
	}
	if made, err := Generate("ada", strings.Repeat("x", 73)); err == nil {
		t.Errorf("a password of which bcrypt would drop the end: %s", made)
	}
}

// FuzzHtpasswd holds: what is read and written again reads the same; every hash that is
// accepted can be checked, and has a cost that can be borne.
func FuzzHtpasswd(f *testing.F) {
	f.Add("ada:$2y$04$" + sum + "\n# x\n\nbob:$2a$10$" + sum)
	f.Add("a:b:$2y$04$" + sum)
	f.Add(" :\x00")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseHtpasswd(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		var lines []string
		for name, hash := range u.hashes {
			lines = append(lines, name+":"+string(hash))
			if cost, err := bcryptCost(string(hash)); err != nil || cost < 4 || cost > maxCost {
				t.Errorf("%s: cost %d, %v", hash, cost, err)
			}
		}
		again, err := ParseHtpasswd(strings.NewReader(strings.Join(lines, "\n")), "f")
		if err != nil || !maps.EqualFunc(u.hashes, again.hashes, slices.Equal) || again.cost != u.cost || len(u.dummy) == 0 {
			t.Errorf("%q, read again: %v", lines, err)
		}
	})
}
