package shop;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.core.exception.TransactionException;

/** Calls as POST requests with JSON bodies, and the global transaction as the header TX_XID. */
public final class Http implements Transport {
    static final int OK = 200, REFUSED = 409, FAILED = 503, UNKNOWN = 500;

    private static final ObjectMapper JSON = new ObjectMapper();
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    record Taking(long order, String item, long quantity) {}

    record Debit(long order, String customer, long amount) {}

    record Award(long order, String customer, long points) {}

    interface Handler<T> {
        void handle(T argument) throws Exception;
    }

    @Override
    public void serve(String host, int port, Object own) throws IOException {
        HttpServer server = listen(host, port);
        if (own instanceof Stock stock) {
            publish(server, "/take", Taking.class, t -> stock.take(t.order(), t.item(), t.quantity()));
            publish(server, "/putBack", Taking.class, t -> stock.putBack(t.order(), t.item(), t.quantity()));
        } else if (own instanceof Account account) {
            publish(server, "/debit", Debit.class, d -> account.debit(d.order(), d.customer(), d.amount()));
            publish(server, "/refund", Debit.class, d -> account.refund(d.order(), d.customer(), d.amount()));
        } else if (own instanceof Points points) {
            publish(server, "/award", Award.class, a -> points.award(a.order(), a.customer(), a.points()));
            publish(server, "/revoke", Award.class, a -> points.revoke(a.order(), a.customer(), a.points()));
        }
        server.start();
    }

    @Override
    public Stock stock(String address) {
        return (order, item, quantity) -> post(address, "/take", new Taking(order, item, quantity));
    }

    @Override
    public Account account(String address) {
        return (order, customer, amount) -> post(address, "/debit", new Debit(order, customer, amount));
    }

    @Override
    public Points points(String address) {
        return (order, customer, points) -> post(address, "/award", new Award(order, customer, points));
    }

    /** A server that answers once it is started. */
    static HttpServer listen(String host, int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        return server;
    }

    /** Serves one function with one argument. */
    static <T> void publish(HttpServer server, String path, Class<T> type, Handler<T> handler) {
        server.createContext(path, exchange -> {
            String xid = exchange.getRequestHeaders().getFirst(RootContext.KEY_XID);
            if (xid != null) {
                RootContext.bind(xid); // what this thread does now takes part in the caller's transaction
            }
            try {
                handler.handle(JSON.readValue(exchange.getRequestBody(), type));
                answer(exchange, OK, "");
            } catch (Throwable t) {
                Refused refused = Refused.in(t);
                answer(exchange, refused != null ? REFUSED : commitFailed(t) ? UNKNOWN : FAILED,
                        refused != null ? refused.getMessage() : t.toString());
            } finally {
                RootContext.unbind(); // the thread serves other callers next
            }
        });
    }

    /** Whether the order may have been placed all the same. */
    private static boolean commitFailed(Throwable t) {
        return t instanceof TransactionException;
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private void post(String address, String path, Object argument) {
        try {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("http://" + address + path))
                    .POST(HttpRequest.BodyPublishers.ofByteArray(JSON.writeValueAsBytes(argument)));
            if (RootContext.inGlobalTransaction()) {
                request.header(RootContext.KEY_XID, RootContext.getXID());
            }
            HttpResponse<String> response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            if (response.statusCode() == REFUSED) {
                throw new Refused(response.body().trim());
            }
            if (response.statusCode() != OK) {
                throw new IllegalStateException(path + ": " + response.statusCode() + " " + response.body());
            }
        } catch (IOException e) {
            throw new IllegalStateException(path + ": " + e, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }
}
