package shop.dubbo;

/** What the account service publishes over Dubbo and Triple. The result is empty, or the reason of a refusal. */
public interface AccountService {
    String debit(long order, String customer, long amount);

    /** Undoes debit, in mode saga. */
    String refund(long order, String customer, long amount);
}
