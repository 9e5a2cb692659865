// Package javapeer drives an unmodified Java Seata client.
//
// Job: build the small Java program under peer/ with Maven, start it against a
// coordinator, give it commands and read its answers. Its tests hold this
// project's coordinator and SDK against that client.
// Owner: tests only; no program imports it.
// It must not know: how this project does what the client asks of it.
package javapeer
