package shop;

import org.apache.seata.spring.annotation.GlobalTransactional;

/** Takes orders. Seata's ProxyUtil needs a public class with a public constructor without arguments. */
public class OrderService {
    Orders orders;
    Stock stock;
    Account account;
    Points points;

    /**
     * The whole business: four changes in four databases, of which this service sees only its own. An exception at any
     * step undoes those before it.
     */
    @GlobalTransactional(name = "place-order", timeoutMills = 5000)
    public void place(Order o) {
        orders.write(o);
        stock.take(o.number(), o.item(), o.quantity());
        account.debit(o.number(), o.customer(), o.price());
        points.award(o.number(), o.customer(), o.price());
    }
}
