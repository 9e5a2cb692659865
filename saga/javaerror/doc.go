// Package javaerror writes and reads errors as Java's serialization does.
//
// Job: a machine.Failure as a serialized exception, and back; the class and the
// message of any exception that Java has serialized.
// Owner: saga/sagalog keeps errors so in Seata's tables.
// It must not know: tables, instances.
//
// Seata keeps an error as a serialized Java object, and an engine of Java cannot
// load an instance whose error is anything else. So a Failure becomes a
// java.lang.RuntimeException: its message is that of the Failure, and its stack
// trace lists the names that the Failure goes by, one a frame. Of what Java wrote,
// the classes and the message are taken; no class of it is ever loaded.
package javaerror
