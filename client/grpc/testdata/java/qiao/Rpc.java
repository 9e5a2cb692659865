package qiao;

import com.alibaba.druid.pool.DruidDataSource;
import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import com.google.protobuf.StringValue;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.core.model.BranchType;
import org.apache.seata.core.model.TransactionManager;
import org.apache.seata.integration.grpc.interceptor.client.ClientTransactionInterceptor;
import org.apache.seata.integration.grpc.interceptor.server.ServerTransactionInterceptor;
import org.apache.seata.rm.RMClient;
import org.apache.seata.rm.datasource.DataSourceProxy;
import org.apache.seata.tm.TMClient;
import org.apache.seata.tm.TransactionManagerHolder;

/**
 * A gRPC service and a gRPC client with Seata's own interceptors. It reads one JSON command a line and
 * writes one JSON answer a line.
 */
public final class Rpc {
    private static final MethodDescriptor<StringValue, StringValue> ASK =
            method("qiao.Test/Ask", MethodDescriptor.MethodType.UNARY);
    private static final MethodDescriptor<StringValue, StringValue> TALK =
            method("qiao.Test/Talk", MethodDescriptor.MethodType.BIDI_STREAMING);

    private DataSource db;
    private Server server;

    private static MethodDescriptor<StringValue, StringValue> method(String name, MethodDescriptor.MethodType type) {
        return MethodDescriptor.<StringValue, StringValue>newBuilder()
                .setType(type)
                .setFullMethodName(name)
                .setRequestMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
                .setResponseMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
                .build();
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err); // libraries must not write between the answers
        TMClient.init(args[0], "default_tx_group");
        RMClient.init(args[0], "default_tx_group");
        answers.println("{\"ready\":true}");
        Rpc rpc = new Rpc();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JSONObject answer = new JSONObject();
            try {
                rpc.carryOut(JSON.parseObject(line), answer);
            } catch (Throwable t) {
                answer.put("error", t.toString());
            } finally {
                RootContext.unbind();
                RootContext.unbindBranchType();
            }
            answers.println(answer.toJSONString());
            answers.flush();
        }
        System.exit(0);
    }

    private void carryOut(JSONObject c, JSONObject a) throws Exception {
        TransactionManager tm = TransactionManagerHolder.get();
        switch (c.getString("op")) {
            case "begin":
                a.put("xid", tm.begin(null, null, "from Java", 60_000));
                break;
            case "commit":
                a.put("status", tm.commit(c.getString("xid")).name());
                break;
            case "rollback":
                a.put("status", tm.rollback(c.getString("xid")).name());
                break;
            case "serve":
                DruidDataSource d = new DruidDataSource();
                d.setUrl(c.getString("url"));
                d.setDriverClassName("com.mysql.cj.jdbc.Driver");
                db = new DataSourceProxy(d);
                server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
                        .intercept(new ServerTransactionInterceptor())
                        .addService(service())
                        .build()
                        .start();
                a.put("port", server.getPort());
                break;
            case "call":
                RootContext.bind(c.getString("xid"));
                if (c.getBooleanValue("tcc")) {
                    RootContext.bindBranchType(BranchType.TCC);
                }
                a.put("events", call(c.getString("target"), c.getBooleanValue("stream"), c.getJSONArray("words").toJavaList(String.class)));
                break;
            default:
                throw new IllegalArgumentException("unknown op " + c);
        }
    }

    /** Ask executes a statement; Talk executes all of a stream's when the caller has said the last. */
    private ServerServiceDefinition service() {
        return ServerServiceDefinition.builder("qiao.Test")
                .addMethod(ASK, ServerCalls.asyncUnaryCall((request, answers) -> execute(List.of(request), answers)))
                .addMethod(TALK, ServerCalls.asyncBidiStreamingCall(answers -> new StreamObserver<StringValue>() {
                    private final List<StringValue> words = new ArrayList<>();

                    @Override
                    public void onNext(StringValue word) {
                        words.add(word);
                    }

                    @Override
                    public void onError(Throwable t) {}

                    @Override
                    public void onCompleted() {
                        execute(words, answers);
                    }
                }))
                .build();
    }

    private void execute(List<StringValue> statements, StreamObserver<StringValue> answers) {
        try (Connection conn = db.getConnection();
                Statement s = conn.createStatement()) {
            for (StringValue text : statements) {
                s.execute(text.getValue());
            }
        } catch (Exception e) {
            answers.onError(Status.INTERNAL.withDescription(e.toString()).asRuntimeException());
            return;
        }
        String seen = RootContext.getXID() + " " + RootContext.getBranchType();
        answers.onNext(StringValue.of(seen));
        answers.onCompleted();
    }

    private static List<String> call(String target, boolean stream, List<String> words) throws Exception {
        ManagedChannel channel = NettyChannelBuilder.forTarget(target)
                .usePlaintext()
                .intercept(new ClientTransactionInterceptor())
                .build();
        try {
            List<String> heard = new ArrayList<>();
            if (!stream) {
                for (String word : words) {
                    heard.add(ClientCalls.blockingUnaryCall(channel, ASK, CallOptions.DEFAULT, StringValue.of(word)).getValue());
                }
                return heard;
            }
            CountDownLatch ended = new CountDownLatch(1);
            List<Throwable> failed = new ArrayList<>();
            StreamObserver<StringValue> out = ClientCalls.asyncBidiStreamingCall(
                    channel.newCall(TALK, CallOptions.DEFAULT), new StreamObserver<StringValue>() {
                        @Override
                        public void onNext(StringValue word) {
                            heard.add(word.getValue());
                        }

                        @Override
                        public void onError(Throwable t) {
                            failed.add(t);
                            ended.countDown();
                        }

                        @Override
                        public void onCompleted() {
                            ended.countDown();
                        }
                    });
            for (String word : words) {
                out.onNext(StringValue.of(word));
            }
            out.onCompleted();
            if (!ended.await(60, TimeUnit.SECONDS)) {
                throw new IllegalStateException("the stream does not end");
            }
            if (!failed.isEmpty()) {
                throw new IllegalStateException(failed.get(0).toString());
            }
            return heard;
        } finally {
            channel.shutdownNow();
            channel.awaitTermination(10, TimeUnit.SECONDS);
        }
    }
}
