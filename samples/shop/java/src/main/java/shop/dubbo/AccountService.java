package shop.dubbo;

/** What the account service publishes over Dubbo and Triple. The result is empty, or the reason of a refusal. */
public interface AccountService {
    String debit(String customer, long amount);
}
