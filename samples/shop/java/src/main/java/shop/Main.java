package shop;

import com.sun.net.httpserver.HttpServer;
import com.zaxxer.hikari.HikariDataSource;
import java.util.HashMap;
import java.util.Map;
import javax.sql.DataSource;
import org.apache.seata.integration.tx.api.fence.DefaultCommonFenceHandler;
import org.apache.seata.integration.tx.api.util.ProxyUtil;
import org.apache.seata.rm.RMClient;
import org.apache.seata.rm.datasource.DataSourceProxy;
import org.apache.seata.rm.datasource.xa.DataSourceProxyXA;
import org.apache.seata.rm.fence.SpringFenceConfig;
import org.apache.seata.rm.fence.SpringFenceHandler;
import org.apache.seata.tm.TMClient;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;

/**
 * One service of the shop in Java, with Seata's own client as it is. The flags are those of the services in Go:
 *
 * <pre>--service stock --rpc http --mode at --coordinator 127.0.0.1:8091 --listen 127.0.0.1:9002
 * --dsn 'jdbc:mysql://127.0.0.1:3306/stock?user=shop&password=secret'</pre>
 *
 * and for the service order also --stock, --account and --points, the addresses of the others. It ends when its
 * standard input does.
 */
public final class Main {
    private final Map<String, String> flags;
    private final Transport transport;
    private JdbcTemplate db;

    private Main(Map<String, String> flags) {
        this.flags = flags;
        this.transport = switch (flags.get("rpc")) {
            case "http" -> new Http();
            case "grpc" -> new Grpc();
            case "dubbo" -> new Dubbo("dubbo");
            case "triple" -> new Dubbo("tri");
            default -> throw new IllegalArgumentException("no --rpc " + flags.get("rpc"));
        };
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> flags = new HashMap<>();
        for (int i = 0; i + 1 < args.length; i += 2) {
            flags.put(args[i].replaceFirst("^--", ""), args[i + 1]);
        }
        try {
            new Main(flags).run();
        } catch (Throwable t) {
            t.printStackTrace();
            System.exit(1); // threads of the client would keep the process
        }
        while (System.in.read() >= 0) {}
        System.exit(0);
    }

    private void run() throws Exception {
        System.setProperty("service.default.grouplist", flags.get("coordinator"));
        String service = flags.get("service");
        TMClient.init("shop-" + service, "default_tx_group");
        RMClient.init("shop-" + service, "default_tx_group");
        db = new JdbcTemplate(openDatabase());

        String listen = flags.get("listen");
        String host = listen.substring(0, listen.lastIndexOf(':'));
        int port = Integer.parseInt(listen.substring(listen.lastIndexOf(':') + 1));
        if (service.equals("order")) { // customers reach it over HTTP, whatever carries the calls that follow
            OrderService order = orderService();
            HttpServer server = Http.listen(host, port);
            Http.publish(server, "/orders", Order.class, order::place);
            server.start();
        } else {
            transport.serve(host, port, participant(service));
        }
    }

    private boolean tcc() {
        return flags.get("mode").equals("tcc");
    }

    /** Under AT and XA a data source whose statements take part in global transactions by themselves, under TCC and in a saga a plain one. */
    private DataSource openDatabase() {
        HikariDataSource plain = new HikariDataSource();
        plain.setJdbcUrl(flags.get("dsn"));
        switch (flags.get("mode")) {
            case "at":
                return new DataSourceProxy(plain);
            case "xa":
                return new DataSourceProxyXA(plain);
            case "saga":
                return plain;
            default: // tcc
        }
        // The fence works in the same local transaction as the methods of an action. Spring would do this by itself.
        new SpringFenceConfig(plain, new DataSourceTransactionManager(plain)).afterPropertiesSet();
        DefaultCommonFenceHandler.get().setFenceHandler(new SpringFenceHandler());
        return plain;
    }

    private Object participant(String service) {
        if (flags.get("mode").equals("saga")) {
            SagaSteps steps = new SagaSteps(db);
            return switch (service) {
                case "stock" -> steps.stock();
                case "account" -> steps.account();
                case "points" -> steps.points();
                default -> throw new IllegalArgumentException("--service " + service + " in mode saga is there in Go only");
            };
        }
        if (!tcc()) {
            return switch (service) { // only its own method is published
                case "stock" -> (Stock) new PlainSql(db)::take;
                case "account" -> (Account) new PlainSql(db)::debit;
                case "points" -> (Points) new PlainSql(db)::award;
                default -> throw new IllegalArgumentException("no --service " + service);
            };
        }
        switch (service) {
            case "stock":
                StockTcc stock = new StockTcc();
                stock.db = db;
                return ProxyUtil.createProxy(stock); // registers the action; take begins its branch
            case "account":
                AccountTcc account = new AccountTcc();
                account.db = db;
                return ProxyUtil.createProxy(account);
            case "points":
                PointsTcc points = new PointsTcc();
                points.db = db;
                return ProxyUtil.createProxy(points);
            default:
                throw new IllegalArgumentException("no --service " + service);
        }
    }

    private OrderService orderService() throws Exception {
        OrderService order = new OrderService();
        order.orders = new PlainSql(db);
        if (tcc()) {
            OrdersTcc orders = new OrdersTcc();
            orders.db = db;
            order.orders = ProxyUtil.createProxy(orders);
        }
        order.stock = transport.stock(flags.get("stock"));
        order.account = transport.account(flags.get("account"));
        order.points = transport.points(flags.get("points"));
        return ProxyUtil.createProxy(order);
    }
}
