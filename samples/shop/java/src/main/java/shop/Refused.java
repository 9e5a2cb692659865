package shop;

/** A refusal is an answer, not a failure. Its text travels between services of either language. */
public final class Refused extends RuntimeException {
    public static final String NO_STOCK = "no stock";
    public static final String NO_MONEY = "no money";

    public Refused(String reason) {
        super(reason);
    }

    /** Returns the refusal that caused an exception, or null: Seata's proxies may wrap it. */
    public static Refused in(Throwable t) {
        for (; t != null; t = t.getCause()) {
            if (t instanceof Refused refused) {
                return refused;
            }
        }
        return null;
    }
}
