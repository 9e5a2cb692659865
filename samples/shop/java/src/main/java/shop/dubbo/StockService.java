package shop.dubbo;

/** What the stock service publishes over Dubbo and Triple. The result is empty, or the reason of a refusal. */
public interface StockService {
    String take(long order, String item, long quantity);

    /** Undoes take, in mode saga. */
    String putBack(long order, String item, long quantity);
}
