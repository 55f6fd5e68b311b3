package config
import ("testing";"fmt";"strings";"time")
func TestScratch(t *testing.T) {
	for _, u := range []string{"[","{","- ","a: ","'","\"","\"\\","?","a: [","[{", " ","\n","|\n","a: |\n","- - ","# ","a: b\n","a\n","  a\n","log: {level: x}\n","a, ","\"a\",", "- a\n", "a","${", "'a' ", "]", "}", "a:\n a", "日", "a: b\n---\n", "- |\n a\n", "[],", "{},", "{a: b},", "\r", "\r\n","a: \"\n\n", "&", "!a ", "@"} {
	  for _, prefix := range []string{"", "log: ", "a: [", "a: \"", "a: |\n "} {
		in := prefix+strings.Repeat(u, (1<<20)/len(u))
		start := time.Now()
		_, err := Parse("f.yaml", []byte(in), nil)
		if d:=time.Since(start); d > 500*time.Millisecond { fmt.Printf("%q %q %v %.150v\n", prefix,u, d, fmt.Sprint(err)) }
	  }
	}
}
