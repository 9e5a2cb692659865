package shop;

/** What the account service does for others. */
public interface Account {
    /** @throws Refused when the customer has not enough */
    void debit(String customer, long amount);
}
