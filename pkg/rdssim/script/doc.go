// Package script is the RouterOS console language: a scannerless parser and an
// interpreter for as much of it as a storage client or a looking administrator
// writes. It knows no menu: commands, their arguments and their effects come
// from a Console.
//
// What the language does is taken from observed consoles: strings and escapes,
// error texts with 1-based byte columns, "a parse error anywhere and nothing
// of the line runs, a runtime error and the rest of the line is skipped".
package script
