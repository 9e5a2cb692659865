package qiao.dubbo;

import com.alibaba.fastjson.JSONObject;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.apache.dubbo.rpc.RpcContext;
import org.springframework.stereotype.Component;

/** What a test may ask of this bank. */
@Component
class Commands {
    /** A transfer that waits to be told how it ends, and its end. */
    private record Open(CompletableFuture<Boolean> end, CompletableFuture<Void> ended) {}

    private final Transfers transfers;
    private final Map<String, Open> open = new HashMap<>();

    Commands(Transfers transfers) {
        this.transfers = transfers;
    }

    JSONObject answer(JSONObject c) {
        JSONObject a = new JSONObject();
        try {
            carryOut(c, a);
        } catch (Throwable t) {
            StringBuilder s = new StringBuilder();
            for (Throwable x = t; x != null; x = x.getCause()) {
                s.append(x.getClass().getSimpleName()).append(": ").append(x.getMessage()).append('\n');
            }
            a.put("error", s.toString());
        }
        return a;
    }

    private void carryOut(JSONObject c, JSONObject a) throws Throwable {
        switch (c.getString("op")) {
            case "open":
                a.put("xid", begin(c));
                break;
            case "close":
                Open transfer = open.remove(c.getString("xid"));
                transfer.end.complete(!c.getBooleanValue("fail"));
                join(transfer.ended);
                break;
            case "outside":
                a.put("events", outside(transfers.at(c.getString("bank"), Bank.class)));
                break;
            case "odd":
                JSONObject attachments = c.getJSONObject("attachments");
                attachments.forEach((key, value) -> RpcContext.getClientAttachment().setObjectAttachment(key, value));
                a.put("outcome", transfers.at(c.getString("bank"), Bank.class).add(c.getString("owner"), c.getLongValue("money")));
                break;
            default:
                throw new IllegalArgumentException("unknown op " + c);
        }
    }

    /** Opens a transfer and returns its XIDs here and there, once it has paid. */
    private String begin(JSONObject c) throws Throwable {
        CompletableFuture<String> paid = new CompletableFuture<>();
        CompletableFuture<Boolean> end = new CompletableFuture<>();
        CompletableFuture<Void> ended = CompletableFuture.runAsync(
                () -> transfers.move(c.getString("owner"), c.getLongValue("money"), c.getString("bank"), c.getString("mode"), paid, end),
                work -> new Thread(work).start());
        ended.whenComplete((nothing, failure) -> paid.completeExceptionally(
                failure == null ? new IllegalStateException("it ended unasked") : failure));
        String xids = join(paid);
        open.put(xids.substring(0, xids.indexOf(' ')), new Open(end, ended));
        return xids;
    }

    private static <T> T join(CompletableFuture<T> future) throws Throwable {
        try {
            return future.get();
        } catch (ExecutionException e) {
            throw e.getCause();
        }
    }

    /** Returns the different XIDs that many calls outside of a transaction meet there. */
    private static TreeSet<String> outside(Bank bank) {
        List<CompletableFuture<String>> calls =
                IntStream.range(0, 64).mapToObj(i -> CompletableFuture.supplyAsync(bank::xid)).toList();
        TreeSet<String> xids = new TreeSet<>();
        calls.forEach(call -> xids.add(call.join()));
        return xids;
    }
}
