// Package check looks at an array and a node and says in plain sentences whether the driver can work with
// them, and what to do where it cannot. With a scratch volume it also tries what no document tells of the
// array (facts/routeros.md §10) and names each answer that differs from what the driver assumes.
//
// Looking changes nothing. Trying leaves nothing behind, however it ends.
package check
