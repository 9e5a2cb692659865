package shop;

/** What the points service does for others. */
public interface Points {
    void award(String customer, long points);
}
