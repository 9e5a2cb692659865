package qiao.dubbo;

import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.spring.annotation.GlobalTransactional;
import org.springframework.stereotype.Component;

/** Moves money from this bank to another one over Dubbo, in a transaction of Seata's. */
@Component
public class Transfers {
    private final JavaBank accounts;
    private final Map<String, Object> references = new ConcurrentHashMap<>();

    public Transfers(JavaBank accounts) {
        this.accounts = accounts;
    }

    /** The other service at an address, such as dubbo://host:port. */
    <T> T at(String address, Class<T> service) {
        return service.cast(references.computeIfAbsent(address + "/" + service.getName(), url -> {
            ReferenceConfig<T> reference = new ReferenceConfig<>();
            reference.setInterface(service);
            reference.setUrl(url);
            reference.setTimeout(20_000);
            reference.setRetries(0);
            reference.setCheck(false);
            return reference.get();
        }));
    }

    /** Pays, tells the XIDs on both sides, and waits there for how it ends. */
    @GlobalTransactional(timeoutMills = 120_000, name = "java-transfer")
    public void move(
            String owner, long money, String address, String mode, CompletableFuture<String> paid, CompletableFuture<Boolean> end) {
        accounts.add(owner, -money);
        // dubbo-go refuses a null over Triple.
        BusinessActionContext context = address.startsWith("tri:") ? new BusinessActionContext() : null;
        String there = mode.equals("TCC")
                ? at(address, Wallet.class).reserve(context, owner, money)
                : at(address, Bank.class).add(owner, money);
        paid.complete(RootContext.getXID() + " " + there);
        if (!end.join()) {
            throw new IllegalStateException("the business failed");
        }
    }
}
