package qiao.dubbo;

import org.apache.dubbo.config.annotation.DubboService;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;
import org.springframework.jdbc.core.JdbcTemplate;

/** The wallet behind Seata's fence, which gives each phase its local transaction. */
@DubboService(interfaceClass = Wallet.class, protocol = {"dubbo", "tri"})
public class JavaWallet implements Wallet {
    private final JdbcTemplate jdbc;

    public JavaWallet(JdbcTemplate jdbc) {
        this.jdbc = jdbc;
    }

    /** Seata looks for the parameters' annotations here, and for the method's in the interface. */
    @Override
    public String reserve(
            BusinessActionContext context,
            @BusinessActionContextParameter("owner") String owner,
            @BusinessActionContextParameter("money") long money) {
        if (jdbc.update("UPDATE account SET held = held + ? WHERE owner = ?", money, owner) != 1) {
            throw new IllegalArgumentException("no account of " + owner);
        }
        return String.valueOf(RootContext.getXID());
    }

    @Override
    public boolean confirm(BusinessActionContext context) {
        long money = ((Number) context.getActionContext("money")).longValue();
        return jdbc.update("UPDATE account SET money = money + ?, held = held - ? WHERE owner = ?",
                money, money, context.getActionContext("owner")) == 1;
    }

    @Override
    public boolean cancel(BusinessActionContext context) {
        long money = ((Number) context.getActionContext("money")).longValue();
        return jdbc.update("UPDATE account SET held = held - ? WHERE owner = ?", money, context.getActionContext("owner")) == 1;
    }
}
