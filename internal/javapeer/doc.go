// Package javapeer drives unmodified Java Seata clients.
//
// Job: build a Java program with Maven, start it against a coordinator, give it
// commands and read its answers. Its tests hold this project's coordinator and
// SDK against those clients: the plain one under peer/, the Spring Boot service
// under spring/, old versions, and Java's codecs.
// Owner: tests only; no program imports it.
// It must not know: how this project does what the client asks of it.
package javapeer
