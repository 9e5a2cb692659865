package shop;

import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;
import org.apache.seata.rm.tcc.api.LocalTCC;
import org.apache.seata.rm.tcc.api.TwoPhaseBusinessAction;
import org.springframework.jdbc.core.JdbcTemplate;

/** The account service under TCC; see StockTcc. */
@LocalTCC
public class AccountTcc implements Account {
    JdbcTemplate db;

    @Override
    @TwoPhaseBusinessAction(name = "account-debit", commitMethod = "confirm", rollbackMethod = "cancel", useTCCFence = true)
    public void debit(
            long order,
            @BusinessActionContextParameter("customer") String customer,
            @BusinessActionContextParameter("amount") long amount) {
        if (db.update("UPDATE account SET balance = balance - ?, reserved = reserved + ? WHERE customer = ? AND balance >= ?",
                amount, amount, customer, amount) == 0) {
            throw new Refused(Refused.NO_MONEY);
        }
    }

    public boolean confirm(BusinessActionContext c) {
        db.update("UPDATE account SET reserved = reserved - ? WHERE customer = ?", amount(c), customer(c));
        return true;
    }

    public boolean cancel(BusinessActionContext c) {
        db.update("UPDATE account SET balance = balance + ?, reserved = reserved - ? WHERE customer = ?",
                amount(c), amount(c), customer(c));
        return true;
    }

    private static String customer(BusinessActionContext c) {
        return c.getActionContext("customer", String.class);
    }

    private static long amount(BusinessActionContext c) {
        return c.getActionContext("amount", Long.class);
    }
}
