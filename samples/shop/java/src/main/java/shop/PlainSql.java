package shop;

import org.springframework.jdbc.core.JdbcTemplate;

/**
 * The services' changes under AT and XA: plain SQL. That it is part of the caller's global transaction is seen by the
 * data source below.
 */
public final class PlainSql implements Orders, Stock, Account, Points {
    private final JdbcTemplate db;

    public PlainSql(JdbcTemplate db) {
        this.db = db;
    }

    @Override
    public void write(Order o) {
        db.update("INSERT INTO orders (number, customer, item, quantity, price) VALUES (?, ?, ?, ?, ?)",
                o.number(), o.customer(), o.item(), o.quantity(), o.price());
    }

    @Override
    public void take(long order, String item, long quantity) {
        if (db.update("UPDATE stock SET quantity = quantity - ? WHERE item = ? AND quantity >= ?", quantity, item, quantity) == 0) {
            throw new Refused(Refused.NO_STOCK);
        }
    }

    @Override
    public void debit(long order, String customer, long amount) {
        if (db.update("UPDATE account SET balance = balance - ? WHERE customer = ? AND balance >= ?", amount, customer, amount) == 0) {
            throw new Refused(Refused.NO_MONEY);
        }
    }

    @Override
    public void award(long order, String customer, long points) {
        if (db.update("UPDATE points SET points = points + ? WHERE customer = ?", points, customer) == 0) {
            throw new IllegalStateException("the points service does not know the customer");
        }
    }
}
