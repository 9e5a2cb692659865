package shop;

import java.util.Map;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import shop.dubbo.AccountService;
import shop.dubbo.PointsService;
import shop.dubbo.StockService;

/**
 * Calls over Dubbo or Triple. The filter dubbo-filter-seata carries the global transaction: being on the class path is
 * enough. A refusal is a result, as exceptions do not travel between languages.
 */
public final class Dubbo implements Transport {
    /** Bounds each call; an order has 5 s in all. */
    private static final int CALL_MILLIS = 3000;

    private final String protocol;

    public Dubbo(String protocol) {
        this.protocol = protocol;
        // Otherwise a service that was away once is not even tried for a long time.
        System.setProperty("dubbo.connectivity.validation", "false");
        ApplicationConfig application = new ApplicationConfig("shop");
        application.setQosEnable(false);
        DubboBootstrap.getInstance().application(application).registry(new RegistryConfig(RegistryConfig.NO_AVAILABLE));
    }

    @Override
    public void serve(String host, int port, Object own) {
        ProtocolConfig at = new ProtocolConfig(protocol, port);
        at.setHost(host);
        DubboBootstrap.getInstance().protocol(at).service(publish(own)).start();
    }

    private static ServiceConfig<?> publish(Object own) {
        if (own instanceof Stock stock) {
            return publish(StockService.class, new StockService() {
                @Override
                public String take(long order, String item, long quantity) {
                    return answer(() -> stock.take(order, item, quantity));
                }

                @Override
                public String putBack(long order, String item, long quantity) {
                    return answer(() -> stock.putBack(order, item, quantity));
                }
            });
        }
        if (own instanceof Account account) {
            return publish(AccountService.class, new AccountService() {
                @Override
                public String debit(long order, String customer, long amount) {
                    return answer(() -> account.debit(order, customer, amount));
                }

                @Override
                public String refund(long order, String customer, long amount) {
                    return answer(() -> account.refund(order, customer, amount));
                }
            });
        }
        Points points = (Points) own;
        return publish(PointsService.class, new PointsService() {
            @Override
            public String award(long order, String customer, long n) {
                return answer(() -> points.award(order, customer, n));
            }

            @Override
            public String revoke(long order, String customer, long n) {
                return answer(() -> points.revoke(order, customer, n));
            }
        });
    }

    private static <T> ServiceConfig<T> publish(Class<T> type, T service) {
        ServiceConfig<T> config = new ServiceConfig<>();
        config.setInterface(type);
        config.setRef(service);
        return config;
    }

    private static String answer(Runnable work) {
        try {
            work.run();
            return "";
        } catch (RuntimeException e) {
            Refused refused = Refused.in(e);
            if (refused == null) {
                throw e;
            }
            return refused.getMessage();
        }
    }

    @Override
    public Stock stock(String address) {
        StockService service = refer(address, StockService.class);
        return (order, item, quantity) -> check(service.take(order, item, quantity));
    }

    @Override
    public Account account(String address) {
        AccountService service = refer(address, AccountService.class);
        return (order, customer, amount) -> check(service.debit(order, customer, amount));
    }

    @Override
    public Points points(String address) {
        PointsService service = refer(address, PointsService.class);
        return (order, customer, points) -> check(service.award(order, customer, points));
    }

    private <T> T refer(String address, Class<T> type) {
        ReferenceConfig<T> config = new ReferenceConfig<>();
        config.setInterface(type);
        config.setUrl(protocol + "://" + address);
        config.setTimeout(CALL_MILLIS);
        config.setRetries(0); // a repeated call would do its work twice in one transaction
        config.setCheck(false); // the others may start later
        config.setParameters(Map.of("heartbeat", "1000")); // ms; one that starts again is found again as soon
        return config.get();
    }

    private static void check(String refusal) {
        if (!refusal.isEmpty()) {
            throw new Refused(refusal);
        }
    }
}
