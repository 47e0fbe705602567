package script

import (
	"strings"
	"testing"
)

func TestErrorTextsAndColumns(t *testing.T) {
	tests := []struct{ line, want string }{
		{`/foo`, "bad command name foo (line 1 column 2)"},
		{`foo`, "bad command name foo (line 1 column 1)"},
		{`:foo`, "bad command name foo (line 1 column 2)"},
		{`:global x 1`, "bad command name global (line 1 column 2)"},
		{`/disk prnt`, "bad command name prnt (line 1 column 7)"},
		{`/disk/sub/find`, "bad command name find (line 1 column 11)"},
		{`:put [/foo print]`, "syntax error (line 1 column 8)"},
		{`:put []`, ""},
		{`/disk add nqn=x`, "bad parameter nqn (line 1 column 11)"},
		{`/disk add slot="ä" nqn=x`, "bad parameter nqn (line 1 column 21)"},
		{`/disk add slot=`, "expected input value (line 1 column 16)"},
		{`/disk add slot="a"b`, "expected end of command (line 1 column 19)"},
		{`/disk add slot=a$x`, "expected end of command (line 1 column 17)"},
		{`/disk add *1`, "expected end of command (line 1 column 11)"},
		{`/disk add nonsense`, "bad parameter nonsense (line 1 column 11)"},
		{`/disk remove *1 *2`, "expected end of command (line 1 column 17)"},
		{`/disk find where nqn=1`, "bad parameter nqn (line 1 column 18)"},
		{`/disk find where slot=`, "syntax error (line 1 column 23)"},
		{`/disk print where (slot="a"`, "syntax error (line 1 column 28)"},
		{`:put "abc`, "syntax error (line 1 column 10)"},
		{`:put "a\qb"`, "syntax error (line 1 column 8)"},
		{`:put "\x0a"`, "syntax error (line 1 column 7)"},
		{`:put "\0a"`, "syntax error (line 1 column 7)"},
		{`:put "\ä"`, "syntax error (line 1 column 7)"},
		{`:put "$"`, "syntax error (line 1 column 9)"},
		{`:put $_x`, "syntax error (line 1 column 7)"},
		{`:put ("a" . )`, "syntax error (line 1 column 13)"},
		{`:put (1`, "syntax error (line 1 column 8)"},
		{`:put {1;2`, "syntax error (line 1 column 10)"},
		{`:put 1 2`, "expected end of command (line 1 column 8)"},
		{`:put 1 x=2`, "bad parameter x (line 1 column 8)"},
		{`:if (1=1) then={}`, "bad parameter then (line 1 column 11)"},
		{`:if (1=1)`, "expected do= (line 1 column 10)"},
		{`:if (1=1) do=5`, "syntax error (line 1 column 14)"},
		{`:if (1=1) do={:put 1`, "syntax error (line 1 column 21)"},
		{`:local`, "expected input value (line 1 column 7)"},
		{`:local 5x 1`, "syntax error (line 1 column 8)"},
		{`:put 1)`, "syntax error (line 1 column 7)"},
		{`}`, "syntax error (line 1 column 1)"},
		{`"text"`, "expected command name (line 1 column 1)"},
		{`:serialize to=json options=json.nonsense value=1`, "input does not match any value of options (line 1 column 20)"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.line, &fakeConsole{minor: 24})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.line, got, tt.want)
		}
	}
}

func TestTheLanguageIsGatedByRelease(t *testing.T) {
	tests := []struct {
		minor int
		line  string
		want  string
	}{
		{12, `:onerror e in={} do={}`, "bad command name onerror (line 1 column 2)"},
		{13, `:onerror e in={} do={}`, ""},
		{12, `:put [:serialize to=json value=1]`, "bad command name serialize (line 1 column 8)"},
		{15, `:put [:serialize to=json value=1 options=json.pretty]`, "bad parameter options (line 1 column 34)"},
		{16, `:put [:serialize to=json value=1 options=json.no-string-conversion]`, "input does not match any value of options (line 1 column 34)"},
		{17, `:put [:serialize to=json value=1 options=json.no-string-conversion]`, ""},
	}
	for _, tt := range tests {
		_, err := Parse(tt.line, &fakeConsole{minor: tt.minor})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("7.%d %s\n got %q\nwant %q", tt.minor, tt.line, got, tt.want)
		}
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	for _, deep := range []string{"(", "[", "{", "!", "-", `"$(`, "{{", "[:put "} {
		line := ":put (" + strings.Repeat(deep, 10_000)
		if _, err := Parse(line, &fakeConsole{minor: 24}); err == nil {
			t.Errorf("%d times %q parses", 10_000, deep)
		}
	}
}
