package qiao.dubbo;

import org.apache.dubbo.config.annotation.DubboService;
import org.apache.seata.core.context.RootContext;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.transaction.annotation.Transactional;

/** The bank on a data source that Seata's starter has wrapped. */
@DubboService(interfaceClass = Bank.class, protocol = {"dubbo", "tri"})
public class JavaBank implements Bank {
    private final JdbcTemplate jdbc;

    public JavaBank(JdbcTemplate jdbc) {
        this.jdbc = jdbc;
    }

    @Override
    @Transactional
    public String add(String owner, long money) {
        if (jdbc.update("UPDATE account SET money = money + ? WHERE owner = ?", money, owner) != 1) {
            throw new IllegalArgumentException("no account of " + owner);
        }
        return xid();
    }

    @Override
    public String xid() {
        return String.valueOf(RootContext.getXID());
    }
}
