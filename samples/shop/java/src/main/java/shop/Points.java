package shop;

/** What the points service does for others. */
public interface Points {
    void award(long order, String customer, long points);

    /** Undoes award, in mode saga; see Stock. */
    default void revoke(long order, String customer, long points) {
        throw new UnsupportedOperationException("only in mode saga");
    }
}
