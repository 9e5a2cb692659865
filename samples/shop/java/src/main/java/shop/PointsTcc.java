package shop;

import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;
import org.apache.seata.rm.tcc.api.LocalTCC;
import org.apache.seata.rm.tcc.api.TwoPhaseBusinessAction;
import org.springframework.jdbc.core.JdbcTemplate;

/** The points service under TCC: points that are reserved cannot be spent yet. */
@LocalTCC
public class PointsTcc implements Points {
    JdbcTemplate db;

    @Override
    @TwoPhaseBusinessAction(name = "points-award", commitMethod = "confirm", rollbackMethod = "cancel", useTCCFence = true)
    public void award(
            long order,
            @BusinessActionContextParameter("customer") String customer,
            @BusinessActionContextParameter("points") long points) {
        if (db.update("UPDATE points SET reserved = reserved + ? WHERE customer = ?", points, customer) == 0) {
            throw new IllegalStateException("the points service does not know the customer");
        }
    }

    public boolean confirm(BusinessActionContext c) {
        db.update("UPDATE points SET points = points + ?, reserved = reserved - ? WHERE customer = ?",
                points(c), points(c), customer(c));
        return true;
    }

    public boolean cancel(BusinessActionContext c) {
        db.update("UPDATE points SET reserved = reserved - ? WHERE customer = ?", points(c), customer(c));
        return true;
    }

    private static String customer(BusinessActionContext c) {
        return c.getActionContext("customer", String.class);
    }

    private static long points(BusinessActionContext c) {
        return c.getActionContext("points", Long.class);
    }
}
