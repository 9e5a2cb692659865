package shop;

import java.util.List;
import org.springframework.dao.DuplicateKeyException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * The services' changes in mode saga: local transactions. A saga calls again whatever it has no answer of, and it may
 * undo what has never arrived. So a row of the table saga_step, written together with the change, says for each order
 * and operation whether it was done or undone. No class of Seata is needed for this.
 */
final class SagaSteps {
    private final JdbcTemplate db;
    private final TransactionTemplate locally;

    SagaSteps(JdbcTemplate db) {
        this.db = db;
        this.locally = new TransactionTemplate(new DataSourceTransactionManager(db.getDataSource()));
    }

    Stock stock() {
        return new Stock() {
            @Override
            public void take(long order, String item, long quantity) {
                once(order, "take", () -> new PlainSql(db).take(order, item, quantity));
            }

            @Override
            public void putBack(long order, String item, long quantity) {
                undo(order, "take", () -> db.update("UPDATE stock SET quantity = quantity + ? WHERE item = ?", quantity, item));
            }
        };
    }

    Account account() {
        return new Account() {
            @Override
            public void debit(long order, String customer, long amount) {
                once(order, "debit", () -> new PlainSql(db).debit(order, customer, amount));
            }

            @Override
            public void refund(long order, String customer, long amount) {
                undo(order, "debit", () -> db.update("UPDATE account SET balance = balance + ? WHERE customer = ?", amount, customer));
            }
        };
    }

    Points points() {
        return new Points() {
            @Override
            public void award(long order, String customer, long points) {
                once(order, "award", () -> new PlainSql(db).award(order, customer, points));
            }

            @Override
            public void revoke(long order, String customer, long points) {
                undo(order, "award", () -> db.update("UPDATE points SET points = points - ? WHERE customer = ?", points, customer));
            }
        };
    }

    /** A refusal, like any exception, takes the row back. */
    private void once(long order, String operation, Runnable change) {
        locally.executeWithoutResult(tx -> {
            String state = note(order, operation, "done");
            if (state == null) {
                change.run();
            } else if (state.equals("undone")) {
                throw new IllegalStateException("this step of the order was undone before it came");
            }
        });
    }

    private void undo(long order, String operation, Runnable change) {
        locally.executeWithoutResult(tx -> {
            if (!"done".equals(note(order, operation, "undone"))) {
                return; // nothing to undo, now and later; or undone already
            }
            if (db.update("UPDATE saga_step SET state = 'undone' WHERE order_number = ? AND operation = ? AND state = 'done'",
                    order, operation) == 1) {
                change.run();
            }
        });
    }

    /** Writes the row of a step, or returns the state of the one that is there. */
    private String note(long order, String operation, String state) {
        try {
            db.update("INSERT INTO saga_step (order_number, operation, state) VALUES (?, ?, ?)", order, operation, state);
            return null;
        } catch (DuplicateKeyException e) {
            List<String> there = db.queryForList(
                    "SELECT state FROM saga_step WHERE order_number = ? AND operation = ?", String.class, order, operation);
            return there.get(0);
        }
    }
}
