package shop;

/** What the account service does for others. */
public interface Account {
    /** @throws Refused when the customer has not enough */
    void debit(long order, String customer, long amount);

    /** Undoes debit, in mode saga; see Stock. */
    default void refund(long order, String customer, long amount) {
        throw new UnsupportedOperationException("only in mode saga");
    }
}
