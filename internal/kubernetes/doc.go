// Package kubernetes turns Gateway API objects into listeners and routes, and computes the conditions
// that say what became of each object.
//
// Objects come from a Source: Files, or a Cluster, which writes the conditions to where the objects are. Translate is a pure function of a Set of them: it never
// fails as a whole, since what is wrong with one object is a condition on that object.
package kubernetes
