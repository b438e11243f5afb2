// Package arch holds one test: the table of which package may import what.
//
// The table is the design of the house. Who wants to import something that it
// does not allow changes the table in the same commit and says why.
package arch
