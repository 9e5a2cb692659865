package qiao.dubbo;

import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.TwoPhaseBusinessAction;

/** Moves money in TCC: a call of reserve is the try, the coordinator asks for the rest. */
public interface Wallet {
    /** Sets money aside in the caller's transaction and returns its XID. The context is for the provider to fill. */
    @TwoPhaseBusinessAction(name = "wallet-of-java", commitMethod = "confirm", rollbackMethod = "cancel", useTCCFence = true)
    String reserve(BusinessActionContext context, String owner, long money);

    boolean confirm(BusinessActionContext context);

    boolean cancel(BusinessActionContext context);
}
