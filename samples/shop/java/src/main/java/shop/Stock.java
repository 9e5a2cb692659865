package shop;

/** What the stock service does for others. */
public interface Stock {
    /** @throws Refused when there is not enough */
    void take(String item, long quantity);
}
