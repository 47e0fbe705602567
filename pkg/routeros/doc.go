// Package routeros runs console commands on a RouterOS 7 array over SSH.
//
// One connection is kept and shared; one exec is in flight unless Config.Sessions says
// otherwise, since several sessions at once have hung real arrays (facts/predecessor.md §2.6).
// RouterOS writes its errors to stdout and its exit status lies (facts/routeros.md §4.1), so
// every exec prints keyed lines and ends with a sentinel: a reply without the sentinel is an
// unknown outcome, never "absent" and never "done". An exec that may have been sent is never
// sent again by this package.
//
// The package knows nothing of volumes: package rds writes the console text.
package routeros
