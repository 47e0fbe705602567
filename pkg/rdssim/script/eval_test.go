package script

import (
	"context"
	"errors"
	"testing"
)

// printed is a line and what it prints.
type printed struct{ line, want string }

func check(t *testing.T, tests []printed) {
	t.Helper()
	for _, tt := range tests {
		if got := evaluate(t, &fakeConsole{minor: 24}, tt.line); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.line, got, tt.want)
		}
	}
}

func TestValuesAndVariables(t *testing.T) {
	check(t, []printed{
		{`:put 5`, "5"},
		{`:put yes`, "true"},
		{`:put plain`, "plain"},
		{`:put`, ""},
		{`:local x 5; :put $x`, "5"},
		{`:local "a-b" 5; :put $"a-b"`, "5"},
		{`:put $nowhere`, ""},
		{`:put [:typeof $nowhere]`, "nothing"},
		{`:local x 1; { :local x 2; :put $x }; :put $x`, "2\n1"},
		{`:local x 1; { :set x 2 }; :put $x`, "2"},
		{`:set x 2`, "variable x is not declared"},
		{`put hello`, "hello"},
		{`# :put hello`, ""},
		{`:put a; # b`, "expected command name (line 1 column 9)"},
	})
}

func TestStringLiterals(t *testing.T) {
	check(t, []printed{
		{`:put "a\tb\\\"\$\_\?\41"`, "a\tb\\\"$ ?A"},
		{`:local n 3; :put "n=$n sum=$($n + 1) cmd=$[:len "abc"]"`, "n=3 sum=4 cmd=3"},
		{`:put "a\   b"`, "ab"},
		{"\t:put \"a\tb\"", "a    b"},
		{`:put "[x] (y) {z}; # ?"`, "[x] (y) {z}; # ?"},
	})
}

func TestExpressions(t *testing.T) {
	check(t, []printed{
		{`:put (1 + 2 * 3 - 4 / 2)`, "5"},
		{`:put (7 % 4)`, "3"},
		{`:put (1 / 0)`, "division by zero"},
		{`:put (-3)`, "-3"},
		{`:put ("a" . 1 . true)`, "a1true"},
		{`:put ("x" . {1;2})`, "x1;x2"},
		{`:put ({1;2} . "x")`, "1x;2x"},
		{`:put (1 < 2 && !(2 >= 3) and not false)`, "true"},
		{`:put ("a" < "b" || 1 > "x")`, "true"},
		{`:put (1 > "x")`, "cannot compare if num is more than str"},
		{`:put ("5" = 5)`, "false"},
		{`:put ("abc" ~ "^a.c\$")`, "true"},
		{`:put ("abc" ~ "(")`, `invalid regular expression "("`},
		{`:put (1 && true)`, "conditional not boolean"},
		{`:put ("a" + 1)`, "cannot apply + to str and num"},
		{`:put (!5)`, "cannot invert num"},
		{`:put (1,2,3)`, "1;2;3"},
		{`:put *2B`, "*2B"},
		{`:put [:typeof *2B]`, "id"},
		{`:put (*2B = *2B)`, "true"},
		{`:put (*2G)`, "syntax error (line 1 column 7)"},
		{`:put [:typeof {1}]; :put [:typeof yes]; :put [:typeof 5]`, "array\nbool\nnum"},
		{`:put ({1;2} = {1;2}); :put ({1} = 1)`, "true\nfalse"},
	})
}

func TestArrays(t *testing.T) {
	check(t, []printed{
		{`:put ({a=1;"b c"=2}->"b c")`, "2"},
		{`:put ({{1;2};{3;4}}->1->0)`, "3"},
		{`:put [:typeof ({1;2}->9)]`, "nothing"},
		{`:put {a=1;2}`, "a=1;2"},
		{`:put {a=1;a=2}`, "a=2"},
		{`:foreach k,v in={x;a=y} do={:put "$k $v"}`, "0 x\na y"},
		{`:put [:len {}]`, "0"},
		{`:put [:toarray "1,b"]`, "1;b"},
	})
}

func TestTheLanguagesOwnCommands(t *testing.T) {
	check(t, []printed{
		{`:put [:pick "abcdef" 1 3]`, "bc"},
		{`:put [:pick "abcdef" 1]`, "b"},
		{`:put [:pick "abc" 2 99]`, "c"},
		{`:put [:pick {1;2;3} 1 3]`, "2;3"},
		{`:put [:pick {1;2;3} 1]`, "2"},
		{`:put [:find "abcabc" "b"]`, "1"},
		{`:put [:find "abcabc" "b" 1]`, "4"},
		{`:put [:typeof [:find "abc" "x"]]`, "nothing"},
		{`:put [:find {"a";"b"} "b"]`, "1"},
		{`:put ([:tonum "12"] + 1)`, "13"},
		{`:put [:typeof [:tonum "x"]]`, "nothing"},
		{`:put [:tostr {1;2}]`, "1;2"},
		{`:if (1 = 1) do={:put a} else={:put b}`, "a"},
		{`:if (1 = 2) do={:put a} else={:put b}`, "b"},
		{`:if 5 do={}`, "conditional not boolean"},
		{`:foreach x in={1;2} do={:put $x}`, "1\n2"},
		{`:foreach k,v in={a=1;b=2} do={:put "$k-$v"}`, "a-1\nb-2"},
		{`:foreach x in=$nowhere do={:put $x}`, ""},
		{`:for i from=1 to=5 step=2 do={:put $i}`, "1\n3\n5"},
		{`:for i from=2 to=1 step=-1 do={:put $i}`, "2\n1"},
		{`:for i from=1 to=2 step=0 do={}`, "invalid value for argument step"},
		{`:for i from=a to=2 do={}`, "invalid value for argument from"},
		{`:local i 0; :while ($i < 2) do={:set i ($i + 1); :put $i}`, "1\n2"},
		{`:local i 0; :do {:set i ($i + 1)} while=($i < 3); :put $i`, "3"},
		{`:do {:error "x"} on-error={:put caught}`, "caught"},
		{`:put [:onerror e in={:error "bad"} do={:put "got $e"}]`, "got bad\ntrue"},
		{`:put [:onerror e in={:put fine} do={:put never}]`, "fine\nfalse"},
		{`:onerror e in={/disk fail} do={:put $e}`, "failure: no"},
		{`:put [:do {1; :return 5}]`, "bad command name 1 (line 1 column 12)"},
		{`:put a; :return 1; :put b`, "a"},
		{`:put a; :error "stop"; :put b`, "a\nstop"},
		{`:while (true) do={}`, "script stopped after 1000000 commands"},
		{`:put [:parse "/disk print"]`, "(evl /disk print)"},
		{`:put [:parse "/disk add nqn=1"]`, "bad parameter nqn (line 1 column 11)"},
	})
}

func TestSerialize(t *testing.T) {
	check(t, []printed{
		{`:put [:serialize to=json value={b=1;a="x";c=yes}]`, `{"a":"x","b":1,"c":true}`},
		{`:put [:serialize to=json value={"123";123;$nowhere}]`, `[123.000000,123,null]`},
		{`:put [:serialize to=json options=json.no-string-conversion value={"123";"q\"\\\n\01"}]`, `["123","q\"\\\n\u0001"]`},
		{`:put [:serialize to=json value={a={1;2}} options=(json.pretty,json.no-string-conversion)]`, "{\n    \"a\": [\n        1,\n        2\n    ]\n}"},
		{`:put [:serialize to=dsv value=1]`, "input does not match any value of to"},
	})
}

func TestMenusAndWhere(t *testing.T) {
	check(t, []printed{
		{`:put [/disk find]`, "*1;*2"},
		{`:put [/disk/find where mounted]`, "*1"},
		{`:put [/disk find !mounted]`, "*2"},
		{`:put [/disk find where slot="b-2" size=20]`, "*2"},
		{`:put [/disk find slot=b-2]`, "*2"},
		{`:put [/disk find where slot~"^b" or size<15]`, "*1;*2"},
		{`:put [/disk find where (size>15 && mounted=no) && comment="x y"]`, "*2"},
		{`:put [/disk find where comment=""]`, "*1"},
		{`:put [/disk find where mounted="yes"]`, "*1"},
		{`:put [:len [/disk find where slot="none"]]`, "0"},
		{`:local rdsS "a"; :put [/disk find where slot=$rdsS]`, "*1"},
		{`:local slot "a"; :put [/disk find where slot=$slot]`, "*1;*2"},
		{`:put [/disk find where slot=[:pick "xa" 1]]`, "*1"},
		{`:put [/disk find where slot=("b" . "-2")]`, "*2"},
		{`:put [/disk find where slot="$[:pick "xb" 1]-2"]`, "*2"},
		{`:put [/disk find where slot=({"b-2";[:pick "xa" 1]}->1)]`, "*1"},
		{`:put [/disk find where size=(-[:len ""] + 10)]`, "*1"},
		{`:put [/disk find where nothing]`, "bad parameter nothing (line 1 column 24)"},
		{`:put [/disk find where true]`, "*1;*2"},
		{`:put [/disk get *1 size]`, "10"},
		{`:put [/disk add slot=x]`, "*2B"},
		{`/disk add slot=x`, ""},
		{`/disk; :put [find where slot=a]`, "*1"},
		{`:put [/disk get [find slot=a] size]; :put [find "ab" "b"]`, "10\n1"},
		{`disk find; :put ok`, "ok"},
		{`:put ([/disk print as-value]->1->"slot")`, "b-2"},
	})
}

func TestAParseErrorAnywhereRunsNothing(t *testing.T) {
	c := &fakeConsole{minor: 24}
	got := evaluate(t, c, `/disk remove *1; :put "x"; /disk add nqn=1`)
	if want := "bad parameter nqn (line 1 column 38)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(c.calls) != 0 {
		t.Errorf("ran %v", c.calls)
	}
}

func TestARuntimeErrorSkipsTheRestOfTheLine(t *testing.T) {
	c := &fakeConsole{minor: 24}
	got := evaluate(t, c, `/disk find; /disk fail; /disk remove *1`)
	if got != "failure: no" || len(c.calls) != 2 {
		t.Errorf("got %q after %v", got, c.calls)
	}
}

func TestACancelledContextEndsALoop(t *testing.T) {
	c := &fakeConsole{minor: 24}
	s, err := Parse(`:while (true) do={:put x}`, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	lines := 0
	err = s.Run(ctx, c, func(string) {
		if lines++; lines == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || lines != 3 {
		t.Errorf("after %d lines: %v", lines, err)
	}
}
