package shop;

import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;
import org.apache.seata.rm.tcc.api.LocalTCC;
import org.apache.seata.rm.tcc.api.TwoPhaseBusinessAction;
import org.springframework.jdbc.core.JdbcTemplate;

/**
 * The stock service under TCC: it reserves first, and then confirms or cancels. The fence sees to it that each method
 * runs once at most, and that a cancel which came first keeps its try out.
 */
@LocalTCC
public class StockTcc implements Stock {
    JdbcTemplate db;

    @Override
    @TwoPhaseBusinessAction(name = "stock-take", commitMethod = "confirm", rollbackMethod = "cancel", useTCCFence = true)
    public void take(
            long order,
            @BusinessActionContextParameter("item") String item,
            @BusinessActionContextParameter("quantity") long quantity) {
        if (db.update("UPDATE stock SET quantity = quantity - ?, reserved = reserved + ? WHERE item = ? AND quantity >= ?",
                quantity, quantity, item, quantity) == 0) {
            throw new Refused(Refused.NO_STOCK);
        }
    }

    public boolean confirm(BusinessActionContext c) {
        db.update("UPDATE stock SET reserved = reserved - ? WHERE item = ?", quantity(c), item(c));
        return true;
    }

    public boolean cancel(BusinessActionContext c) {
        db.update("UPDATE stock SET quantity = quantity + ?, reserved = reserved - ? WHERE item = ?",
                quantity(c), quantity(c), item(c));
        return true;
    }

    private static String item(BusinessActionContext c) {
        return c.getActionContext("item", String.class);
    }

    private static long quantity(BusinessActionContext c) {
        return c.getActionContext("quantity", Long.class);
    }
}
