package qiao.dubbo;

/** Moves money in AT: what is added is there at once, and taken back when the transaction rolls back. */
public interface Bank {
    /** Adds money in the caller's transaction and returns its XID, or "null" outside of one. */
    String add(String owner, long money);

    /** Returns the XID that the thread of this call is bound to, or "null". */
    String xid();
}
