package shop;

import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.net.InetSocketAddress;
import java.util.concurrent.TimeUnit;
import org.apache.seata.integration.grpc.interceptor.client.ClientTransactionInterceptor;
import org.apache.seata.integration.grpc.interceptor.server.ServerTransactionInterceptor;
import shop.rpc.AccountGrpc;
import shop.rpc.Awarding;
import shop.rpc.Debiting;
import shop.rpc.Done;
import shop.rpc.PointsGrpc;
import shop.rpc.StockGrpc;
import shop.rpc.Taking;

/** Calls over gRPC; Seata's own interceptors carry the global transaction. */
public final class Grpc implements Transport {
    /** Bounds each call; an order has 5 s in all. A service that is just starting again is waited for. */
    private static final int CALL_SECONDS = 3;

    @Override
    public void serve(String host, int port, Object own) throws Exception {
        NettyServerBuilder server = NettyServerBuilder.forAddress(new InetSocketAddress(host, port))
                .intercept(new ServerTransactionInterceptor());
        if (own instanceof Stock stock) {
            server.addService(new StockGrpc.StockImplBase() {
                @Override
                public void take(Taking t, StreamObserver<Done> answer) {
                    answer(answer, () -> stock.take(t.getOrder(), t.getItem(), t.getQuantity()));
                }

                @Override
                public void putBack(Taking t, StreamObserver<Done> answer) {
                    answer(answer, () -> stock.putBack(t.getOrder(), t.getItem(), t.getQuantity()));
                }
            });
        } else if (own instanceof Account account) {
            server.addService(new AccountGrpc.AccountImplBase() {
                @Override
                public void debit(Debiting d, StreamObserver<Done> answer) {
                    answer(answer, () -> account.debit(d.getOrder(), d.getCustomer(), d.getAmount()));
                }

                @Override
                public void refund(Debiting d, StreamObserver<Done> answer) {
                    answer(answer, () -> account.refund(d.getOrder(), d.getCustomer(), d.getAmount()));
                }
            });
        } else if (own instanceof Points points) {
            server.addService(new PointsGrpc.PointsImplBase() {
                @Override
                public void award(Awarding a, StreamObserver<Done> answer) {
                    answer(answer, () -> points.award(a.getOrder(), a.getCustomer(), a.getPoints()));
                }

                @Override
                public void revoke(Awarding a, StreamObserver<Done> answer) {
                    answer(answer, () -> points.revoke(a.getOrder(), a.getCustomer(), a.getPoints()));
                }
            });
        }
        server.build().start();
    }

    private static void answer(StreamObserver<Done> answer, Runnable work) {
        try {
            work.run();
        } catch (Throwable t) {
            Refused refused = Refused.in(t);
            Status status = refused != null
                    ? Status.FAILED_PRECONDITION.withDescription(refused.getMessage())
                    : Status.INTERNAL.withDescription(t.toString());
            answer.onError(status.asRuntimeException());
            return;
        }
        answer.onNext(Done.getDefaultInstance());
        answer.onCompleted();
    }

    @Override
    public Stock stock(String address) {
        StockGrpc.StockBlockingStub stub = StockGrpc.newBlockingStub(channel(address));
        return (order, item, quantity) -> call(() -> stub.withWaitForReady().withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS)
                .take(Taking.newBuilder().setOrder(order).setItem(item).setQuantity(quantity).build()));
    }

    @Override
    public Account account(String address) {
        AccountGrpc.AccountBlockingStub stub = AccountGrpc.newBlockingStub(channel(address));
        return (order, customer, amount) -> call(() -> stub.withWaitForReady().withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS)
                .debit(Debiting.newBuilder().setOrder(order).setCustomer(customer).setAmount(amount).build()));
    }

    @Override
    public Points points(String address) {
        PointsGrpc.PointsBlockingStub stub = PointsGrpc.newBlockingStub(channel(address));
        return (order, customer, points) -> call(() -> stub.withWaitForReady().withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS)
                .award(Awarding.newBuilder().setOrder(order).setCustomer(customer).setPoints(points).build()));
    }

    private static ManagedChannel channel(String address) {
        return ManagedChannelBuilder.forTarget(address).usePlaintext().intercept(new ClientTransactionInterceptor()).build();
    }

    private static void call(Runnable work) {
        try {
            work.run();
        } catch (StatusRuntimeException e) {
            if (e.getStatus().getCode() == Status.Code.FAILED_PRECONDITION) {
                throw new Refused(e.getStatus().getDescription());
            }
            throw e;
        }
    }
}
