// Package javafile reads the file store of a Java coordinator (store.mode=file).
//
// Job: its records, from bytes of which nothing is taken for granted; what is live
// after all of them, as transactions of ours, ready for our machine to go on with.
// Owner: qiao store import.
// It must not know: where the transactions go.
//
// The form is that of Seata 1.5 to 2.x: FileTransactionStoreManager,
// TransactionWriteStore, GlobalSession.encode, BranchSession.encode; what is left
// after all records follows FileSessionManager.restore, and which row locks are held
// SessionHolder.reload. It differs where Java forgets at a restart what it has told
// an operator to look after: a transaction that failed for good stays.
package javafile
