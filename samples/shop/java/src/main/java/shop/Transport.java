package shop;

/** Carries calls from service to service, and the global transaction with them. */
public interface Transport {
    /** Answers calls on the port; own is a Stock, an Account or a Points. */
    void serve(String host, int port, Object own) throws Exception;

    /** The services at these addresses, host:port. */
    Stock stock(String address) throws Exception;

    Account account(String address) throws Exception;

    Points points(String address) throws Exception;
}
