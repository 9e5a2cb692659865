package shop;

/** The order service's own table. */
public interface Orders {
    void write(Order order);
}
