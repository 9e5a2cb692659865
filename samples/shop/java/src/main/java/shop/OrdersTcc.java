package shop;

import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;
import org.apache.seata.rm.tcc.api.LocalTCC;
import org.apache.seata.rm.tcc.api.TwoPhaseBusinessAction;
import org.springframework.jdbc.core.JdbcTemplate;

/** The order service's own table under TCC: an order is pending until it is confirmed. */
@LocalTCC
public class OrdersTcc implements Orders {
    JdbcTemplate db;

    @Override
    @TwoPhaseBusinessAction(name = "order-write", commitMethod = "confirm", rollbackMethod = "cancel", useTCCFence = true)
    public void write(@BusinessActionContextParameter(isParamInProperty = true) Order o) {
        db.update("INSERT INTO orders (number, customer, item, quantity, price, pending) VALUES (?, ?, ?, ?, ?, 1)",
                o.number(), o.customer(), o.item(), o.quantity(), o.price());
    }

    public boolean confirm(BusinessActionContext c) {
        db.update("UPDATE orders SET pending = 0 WHERE number = ?", number(c));
        return true;
    }

    public boolean cancel(BusinessActionContext c) {
        db.update("DELETE FROM orders WHERE number = ?", number(c));
        return true;
    }

    private static long number(BusinessActionContext c) {
        return c.getActionContext("number", Long.class);
    }
}
