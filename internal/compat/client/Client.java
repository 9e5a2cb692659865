package qiao;

import com.alibaba.druid.pool.DruidDataSource;
import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import javax.sql.DataSource;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.core.exception.TransactionException;
import org.apache.seata.core.model.BranchStatus;
import org.apache.seata.core.model.BranchType;
import org.apache.seata.core.model.GlobalStatus;
import org.apache.seata.core.protocol.ResultCode;
import org.apache.seata.core.protocol.transaction.AbstractGlobalEndRequest;
import org.apache.seata.core.protocol.transaction.AbstractGlobalEndResponse;
import org.apache.seata.core.protocol.transaction.AbstractTransactionResponse;
import org.apache.seata.core.protocol.transaction.BranchRegisterRequest;
import org.apache.seata.core.protocol.transaction.BranchRegisterResponse;
import org.apache.seata.core.protocol.transaction.BranchReportRequest;
import org.apache.seata.core.protocol.transaction.GlobalCommitRequest;
import org.apache.seata.core.protocol.transaction.GlobalLockQueryRequest;
import org.apache.seata.core.protocol.transaction.GlobalLockQueryResponse;
import org.apache.seata.core.protocol.transaction.GlobalReportRequest;
import org.apache.seata.core.protocol.transaction.GlobalRollbackRequest;
import org.apache.seata.core.protocol.transaction.GlobalStatusRequest;
import org.apache.seata.core.rpc.netty.RmNettyRemotingClient;
import org.apache.seata.core.rpc.netty.TmNettyRemotingClient;
import org.apache.seata.rm.DefaultResourceManager;
import org.apache.seata.rm.RMClient;
import org.apache.seata.rm.datasource.DataSourceProxy;
import org.apache.seata.rm.datasource.xa.DataSourceProxyXA;
import org.apache.seata.rm.tcc.TCCResource;
import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.tm.TMClient;
import org.apache.seata.tm.TransactionManagerHolder;
import org.apache.seata.tm.api.TransactionalExecutor;
import org.apache.seata.tm.api.TransactionalTemplate;
import org.apache.seata.tm.api.transaction.TransactionInfo;

/**
 * An unmodified Seata client of any version from 1.4.2 on, which a test drives: it reads one JSON command a
 * line from standard input and writes one JSON answer a line to standard output. Versions before 2.1 are
 * of the package io.seata, which is written into this source before it is compiled.
 */
public final class Client {
    private static final String GROUP = "default_tx_group";

    private final Map<String, DataSource> sources = new HashMap<>();
    private final List<String> events = Collections.synchronizedList(new ArrayList<>());
    private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final PrintStream out;
    /** What the actions' second phase answers. */
    private volatile boolean obedient = true;

    private Client(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err); // libraries must not write between the answers
        Client client = new Client(answers);
        TMClient.init(args[0], GROUP);
        RMClient.init(args[0], GROUP);
        client.print(new JSONObject(Map.of("ready", true)));
        for (String line; (line = client.in.readLine()) != null; ) {
            client.print(client.answer(JSON.parseObject(line)));
        }
        System.exit(0);
    }

    private void print(JSONObject a) {
        out.println(a.toJSONString());
        out.flush();
    }

    private JSONObject answer(JSONObject c) {
        JSONObject a = new JSONObject();
        try {
            carryOut(c, a);
        } catch (Throwable t) {
            a.put("error", describe(t));
        } finally {
            RootContext.unbind();
            RootContext.unbindBranchType();
        }
        return a;
    }

    /** The classes of an exception and its causes, with Seata's codes: the texts are each coordinator's own. */
    private static String describe(Throwable t) {
        StringBuilder s = new StringBuilder();
        for (Throwable x = t; x != null; x = x.getCause()) {
            s.append(s.length() == 0 ? "" : " <- ").append(x.getClass().getSimpleName());
            if (x instanceof TransactionException) {
                s.append('(').append(((TransactionException) x).getCode()).append(')');
            }
            x.printStackTrace();
        }
        return s.toString();
    }

    private void carryOut(JSONObject c, JSONObject a) throws Throwable {
        String xid = c.getString("xid");
        switch (c.getString("op")) {
            case "begin":
                a.put("xid", TransactionManagerHolder.get().begin(null, null, c.getString("name"), c.getIntValue("timeout")));
                break;
            case "commit":
                global(new GlobalCommitRequest(), xid, a);
                break;
            case "rollback":
                global(new GlobalRollbackRequest(), xid, a);
                break;
            case "status":
                global(new GlobalStatusRequest(), xid, a);
                break;
            case "report":
                GlobalReportRequest report = new GlobalReportRequest();
                report.setGlobalStatus(GlobalStatus.valueOf(c.getString("status")));
                global(report, xid, a);
                break;
            case "register":
                register(c, xid, a);
                break;
            case "lock":
                lockQuery(c, xid, a);
                break;
            case "branch":
                branchReport(c, xid, a);
                break;
            case "at":
                sources.put(c.getString("name"), new DataSourceProxy(database(c.getString("url"))));
                break;
            case "xa":
                sources.put(c.getString("name"), new DataSourceProxyXA(database(c.getString("url"))));
                break;
            case "sql":
                sql(c, xid);
                break;
            case "action":
                registerAction(c.getString("name"));
                break;
            case "try":
                a.put("branch", tryAction(c.getString("name"), xid));
                break;
            case "obey":
                obedient = c.getBooleanValue("obey");
                break;
            case "events":
                a.put("events", new ArrayList<>(events));
                events.clear();
                break;
            case "template":
                template(c, a);
                break;
            default:
                throw new IllegalArgumentException("unknown op " + c);
        }
    }

    private static void result(AbstractTransactionResponse r, JSONObject a, String ifSuccess) {
        a.put("outcome", r.getResultCode() == ResultCode.Success ? ifSuccess
                : r.getResultCode() + " " + r.getTransactionExceptionCode());
    }

    private static void global(AbstractGlobalEndRequest request, String xid, JSONObject a) throws TimeoutException {
        request.setXid(xid);
        AbstractGlobalEndResponse r =
                (AbstractGlobalEndResponse) TmNettyRemotingClient.getInstance().sendSyncRequest(request);
        a.put("status", String.valueOf(r.getGlobalStatus()));
        result(r, a, String.valueOf(r.getGlobalStatus()));
    }

    private static <T extends BranchRegisterRequest> T filled(T r, JSONObject c, String xid) {
        r.setXid(xid);
        r.setBranchType(BranchType.valueOf(c.getString("type")));
        r.setResourceId(c.getString("resource"));
        r.setLockKey(c.getString("lock"));
        r.setApplicationData(c.getString("data"));
        return r;
    }

    private static void register(JSONObject c, String xid, JSONObject a) throws TimeoutException {
        BranchRegisterResponse r = (BranchRegisterResponse) RmNettyRemotingClient.getInstance()
                .sendSyncRequest(filled(new BranchRegisterRequest(), c, xid));
        a.put("branch", r.getBranchId());
        result(r, a, "registered");
    }

    private static void lockQuery(JSONObject c, String xid, JSONObject a) throws TimeoutException {
        GlobalLockQueryResponse r = (GlobalLockQueryResponse) RmNettyRemotingClient.getInstance()
                .sendSyncRequest(filled(new GlobalLockQueryRequest(), c, xid));
        result(r, a, r.isLockable() ? "lockable" : "not lockable");
    }

    private static void branchReport(JSONObject c, String xid, JSONObject a) throws TimeoutException {
        BranchReportRequest request = new BranchReportRequest();
        request.setXid(xid);
        request.setBranchId(c.getLongValue("branch"));
        request.setBranchType(BranchType.valueOf(c.getString("type")));
        request.setResourceId(c.getString("resource"));
        request.setStatus(BranchStatus.valueOf(c.getString("status")));
        result((AbstractTransactionResponse) RmNettyRemotingClient.getInstance().sendSyncRequest(request), a, "accepted");
    }

    private static DataSource database(String url) {
        DruidDataSource d = new DruidDataSource();
        d.setUrl(url);
        d.setDriverClassName(url.startsWith("jdbc:mariadb:") ? "org.mariadb.jdbc.Driver" : "com.mysql.cj.jdbc.Driver");
        d.setBreakAfterAcquireFailure(true);
        d.setConnectionErrorRetryAttempts(0);
        d.setMaxActive(8);
        return d;
    }

    /** Runs statements in one local transaction, a branch of xid. */
    private void sql(JSONObject c, String xid) throws Exception {
        DataSource source = sources.get(c.getString("source"));
        RootContext.bind(xid);
        RootContext.bindBranchType(source instanceof DataSourceProxyXA ? BranchType.XA : BranchType.AT);
        try (Connection conn = source.getConnection()) {
            conn.setAutoCommit(c.getBooleanValue("autocommit"));
            try (Statement s = conn.createStatement()) {
                for (Object text : c.getJSONArray("statements")) {
                    s.execute((String) text);
                }
                if (!c.getBooleanValue("autocommit")) {
                    conn.commit();
                }
            } catch (Exception e) {
                if (!c.getBooleanValue("autocommit")) {
                    conn.rollback();
                }
                throw e;
            }
        }
    }

    /** A TCC action that records what is asked of it. */
    public final class Action {
        public boolean prepare(BusinessActionContext context) {
            events.add("try " + context.getBranchId());
            return true;
        }

        public boolean commit(BusinessActionContext context) {
            events.add("confirm " + context.getBranchId() + (obedient ? "" : " refused"));
            return obedient;
        }

        public boolean rollback(BusinessActionContext context) {
            events.add("cancel " + context.getBranchId() + (obedient ? "" : " refused"));
            return obedient;
        }
    }

    private void registerAction(String name) throws Exception {
        Class<?>[] arguments = {BusinessActionContext.class};
        TCCResource r = new TCCResource();
        r.setActionName(name);
        r.setAppName("compat");
        r.setTargetBean(new Action());
        r.setPrepareMethod(Action.class.getMethod("prepare", arguments));
        r.setCommitMethodName("commit");
        r.setCommitMethod(Action.class.getMethod("commit", arguments));
        r.setRollbackMethodName("rollback");
        r.setRollbackMethod(Action.class.getMethod("rollback", arguments));
        // Since 1.5 the second phase may take arguments of its own.
        for (Method m : TCCResource.class.getMethods()) {
            if (m.getName().matches("set(Commit|Rollback)ArgsClasses")) {
                m.invoke(r, (Object) arguments);
            } else if (m.getName().matches("setPhaseTwo(Commit|Rollback)Keys")) {
                m.invoke(r, (Object) new String[] {null});
            }
        }
        DefaultResourceManager.get().registerResource(r);
    }

    private long tryAction(String name, String xid) throws Exception {
        // The names of Seata's Constants, of which the oldest client lacks one.
        Map<String, Object> context = Map.of("actionName", name);
        String data = JSON.toJSONString(Map.of("actionContext", context));
        long branch = DefaultResourceManager.get().branchRegister(BranchType.TCC, name, null, xid, data, null);
        BusinessActionContext bac = new BusinessActionContext();
        bac.setXid(xid);
        bac.setBranchId(String.valueOf(branch));
        TCCResource r = (TCCResource) DefaultResourceManager.get().getManagedResources().get(name);
        ((Action) r.getTargetBean()).prepare(bac);
        return branch;
    }

    /** Runs commands inside a transaction of Seata's own template; "fail" among them throws. */
    private void template(JSONObject c, JSONObject a) throws Throwable {
        TransactionInfo info = new TransactionInfo();
        info.setName(c.getString("name"));
        info.setTimeOut(c.getIntValue("timeout"));
        try {
            new TransactionalTemplate().execute(new TransactionalExecutor() {
                @Override
                public Object execute() throws Throwable {
                    String xid = RootContext.getXID();
                    print(new JSONObject(Map.of("xid", xid)));
                    for (String line; (line = in.readLine()) != null; ) {
                        JSONObject command = JSON.parseObject(line);
                        switch (command.getString("op")) {
                            case "end":
                                return null;
                            case "fail":
                                throw new IllegalStateException("the business failed");
                            default:
                                JSONObject inner = new JSONObject();
                                carryOut(command, inner);
                                print(inner);
                        }
                    }
                    return null;
                }

                @Override
                public TransactionInfo getTransactionInfo() {
                    return info;
                }
            });
            a.put("outcome", "returns");
        } catch (TransactionalExecutor.ExecutionException e) {
            a.put("outcome", "throws " + e.getCode());
        }
    }
}
