package shop;

/** What a customer asks for. The price is that of all pieces together. */
public record Order(long number, String customer, String item, long quantity, long price) {}
