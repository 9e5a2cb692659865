package shop;

/** What the stock service does for others. */
public interface Stock {
    /** @throws Refused when there is not enough */
    void take(long order, String item, long quantity);

    /** Undoes take, in mode saga: perhaps before it, or without it, or more than once. */
    default void putBack(long order, String item, long quantity) {
        throw new UnsupportedOperationException("only in mode saga");
    }
}
