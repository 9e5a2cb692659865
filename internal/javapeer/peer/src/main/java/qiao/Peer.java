package qiao;

import com.alibaba.druid.pool.DruidDataSource;
import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import javax.sql.DataSource;
import org.apache.seata.common.Constants;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.core.model.BranchType;
import org.apache.seata.core.model.GlobalStatus;
import org.apache.seata.core.model.TransactionManager;
import org.apache.seata.integration.tx.api.fence.DefaultCommonFenceHandler;
import org.apache.seata.integration.tx.api.interceptor.DefaultInvocationWrapper;
import org.apache.seata.integration.tx.api.interceptor.handler.ProxyInvocationHandler;
import org.apache.seata.rm.DefaultResourceManager;
import org.apache.seata.rm.RMClient;
import org.apache.seata.rm.datasource.DataSourceProxy;
import org.apache.seata.rm.datasource.xa.DataSourceProxyXA;
import org.apache.seata.rm.fence.SpringFenceHandler;
import org.apache.seata.rm.tcc.TCCResource;
import org.apache.seata.rm.tcc.api.BusinessActionContext;
import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;
import org.apache.seata.rm.tcc.api.BusinessActionContextUtil;
import org.apache.seata.rm.tcc.api.TwoPhaseBusinessAction;
import org.apache.seata.rm.tcc.interceptor.parser.TccActionInterceptorParser;
import org.apache.seata.saga.rm.api.CompensationBusinessAction;
import org.apache.seata.saga.rm.interceptor.parser.SagaAnnotationActionInterceptorParser;
import org.apache.seata.tm.TMClient;
import org.apache.seata.tm.TransactionManagerHolder;
import org.apache.seata.tm.api.TransactionalExecutor;
import org.apache.seata.tm.api.TransactionalTemplate;
import org.apache.seata.tm.api.transaction.TransactionInfo;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * An unmodified Seata client that a test drives: it reads one JSON command a line from standard input
 * and writes one JSON answer a line to standard output.
 */
public final class Peer {
    private final Map<String, DataSource> proxies = new HashMap<>();
    private final List<String> events = Collections.synchronizedList(new ArrayList<>());
    private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final PrintStream out;

    private Peer(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err); // libraries must not write between the answers
        Peer peer = new Peer(answers);
        TMClient.init(args[0], "default_tx_group");
        RMClient.init(args[0], "default_tx_group");
        peer.out.println("{\"ready\":true}");
        for (String line; (line = peer.in.readLine()) != null; ) {
            peer.out.println(peer.answer(JSON.parseObject(line)).toJSONString());
            peer.out.flush();
        }
        System.exit(0);
    }

    private JSONObject answer(JSONObject c) {
        JSONObject a = new JSONObject();
        try {
            carryOut(c, a);
        } catch (Throwable t) {
            a.put("error", describe(t));
        } finally {
            RootContext.unbind();
        }
        return a;
    }

    private static String describe(Throwable t) {
        StringBuilder s = new StringBuilder();
        for (Throwable x = t; x != null; x = x.getCause()) {
            s.append(s.length() == 0 ? "" : " <- ").append(x.getClass().getSimpleName()).append(": ").append(x.getMessage());
        }
        return s.toString();
    }

    private void carryOut(JSONObject c, JSONObject a) throws Throwable {
        TransactionManager tm = TransactionManagerHolder.get();
        String xid = c.getString("xid");
        switch (c.getString("op")) {
            case "begin":
                a.put("xid", tm.begin(null, null, c.getString("name"), c.getIntValue("timeout")));
                break;
            case "commit":
                a.put("status", tm.commit(xid).name());
                break;
            case "rollback":
                a.put("status", tm.rollback(xid).name());
                break;
            case "status":
                a.put("status", tm.getStatus(xid).name());
                break;
            case "report":
                a.put("status", tm.globalReport(xid, GlobalStatus.valueOf(c.getString("status"))).name());
                break;
            case "datasource":
                proxies.put(c.getString("name"), c.getBooleanValue("xa")
                        ? new DataSourceProxyXA(database(c.getString("url")))
                        : new DataSourceProxy(database(c.getString("url"))));
                break;
            case "finish":
                a.put("status", finish(c, xid));
                break;
            case "sql":
                sql(c, xid);
                break;
            case "query":
                a.put("rows", query(c));
                break;
            case "undo":
                a.put("status", undo(c, xid));
                break;
            case "resource":
                registerAction(c);
                break;
            case "try":
                a.put("branch", tryAction(c, xid));
                break;
            case "annotated":
                annotated();
                break;
            case "annotated-call":
                callAnnotated(c, xid);
                break;
            case "events":
                a.put("events", new ArrayList<>(events));
                events.clear();
                break;
            case "template":
                template(c, a);
                break;
            case "serve":
                a.put("port", serve());
                break;
            default:
                throw new IllegalArgumentException("unknown op " + c);
        }
    }

    private static DataSource database(String url) {
        DruidDataSource d = new DruidDataSource();
        d.setUrl(url);
        d.setDriverClassName(url.startsWith("jdbc:postgresql:") ? "org.postgresql.Driver" : "com.mysql.cj.jdbc.Driver");
        d.setBreakAfterAcquireFailure(true);
        d.setConnectionErrorRetryAttempts(0);
        d.setMaxActive(4);
        return d;
    }

    /** Runs statements in one local transaction of a branch of xid, or one by one in autocommit. */
    private void sql(JSONObject c, String xid) throws Exception {
        if (xid != null) {
            RootContext.bind(xid);
        }
        try (Connection conn = proxies.get(c.getString("datasource")).getConnection()) {
            conn.setAutoCommit(c.getBooleanValue("autocommit"));
            try (Statement s = conn.createStatement()) {
                for (Object text : c.getJSONArray("statements")) {
                    s.execute((String) text);
                }
                if (!conn.getAutoCommit()) {
                    conn.commit();
                }
            } catch (Exception e) {
                if (!conn.getAutoCommit()) {
                    conn.rollback();
                }
                throw e;
            } finally {
                conn.setAutoCommit(true);
            }
        }
    }

    /** Has the resource manager undo one branch of any process, as a coordinator would. */
    private String undo(JSONObject c, String xid) throws Exception {
        String resource = ((DataSourceProxy) proxies.get(c.getString("datasource"))).getResourceId();
        return DefaultResourceManager.get()
                .branchRollback(BranchType.AT, xid, c.getLongValue("branch"), resource, null)
                .name();
    }

    /** Has the resource manager end one XA branch of any process, as a coordinator would. */
    private String finish(JSONObject c, String xid) throws Exception {
        String resource = ((DataSourceProxyXA) proxies.get(c.getString("datasource"))).getResourceId();
        long branch = c.getLongValue("branch");
        DefaultResourceManager rm = DefaultResourceManager.get();
        return (c.getBooleanValue("commit")
                        ? rm.branchCommit(BranchType.XA, xid, branch, resource, null)
                        : rm.branchRollback(BranchType.XA, xid, branch, resource, null))
                .name();
    }

    private List<List<String>> query(JSONObject c) throws Exception {
        List<List<String>> rows = new ArrayList<>();
        try (Connection conn = proxies.get(c.getString("datasource")).getConnection();
                Statement s = conn.createStatement();
                ResultSet r = s.executeQuery(c.getString("statement"))) {
            while (r.next()) {
                List<String> row = new ArrayList<>();
                for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
                    row.add(r.getString(i));
                }
                rows.add(row);
            }
        }
        return rows;
    }

    /** A TCC action that records what is asked of it. */
    public final class Action {
        public boolean prepare(BusinessActionContext context) {
            events.add("try " + context.getBranchId());
            return true;
        }

        public boolean commit(BusinessActionContext context) {
            events.add("confirm " + context.getBranchId());
            return true;
        }

        public boolean rollback(BusinessActionContext context) {
            events.add("cancel " + context.getBranchId());
            return true;
        }
    }

    private void registerAction(JSONObject c) throws Exception {
        Action action = new Action();
        Method prepare = Action.class.getMethod("prepare", BusinessActionContext.class);
        TCCResource r = new TCCResource();
        r.setActionName(c.getString("name"));
        r.setAppName("java-peer");
        r.setTargetBean(action);
        r.setPrepareMethod(prepare);
        r.setCommitMethodName("commit");
        r.setCommitMethod(Action.class.getMethod("commit", BusinessActionContext.class));
        r.setRollbackMethodName("rollback");
        r.setRollbackMethod(Action.class.getMethod("rollback", BusinessActionContext.class));
        r.setCommitArgsClasses(new Class<?>[] {BusinessActionContext.class});
        r.setRollbackArgsClasses(new Class<?>[] {BusinessActionContext.class});
        r.setPhaseTwoCommitKeys(new String[] {null});
        r.setPhaseTwoRollbackKeys(new String[] {null});
        DefaultResourceManager.get().registerResource(r);
        if (c.containsKey("fence")) {
            DataSource d = database(c.getString("fence"));
            SpringFenceHandler.setDataSource(d);
            SpringFenceHandler.setTransactionTemplate(new TransactionTemplate(new DataSourceTransactionManager(d)));
            DefaultCommonFenceHandler.get().setFenceHandler(new SpringFenceHandler());
        }
    }

    private long tryAction(JSONObject c, String xid) throws Throwable {
        String name = c.getString("name");
        boolean fenced = c.getBooleanValue("fenced");
        Map<String, Object> context = new HashMap<>();
        context.put(Constants.ACTION_NAME, name);
        context.put(Constants.USE_COMMON_FENCE, fenced);
        String data = JSON.toJSONString(Collections.singletonMap(Constants.TX_ACTION_CONTEXT, context));
        long branch = DefaultResourceManager.get().branchRegister(BranchType.TCC, name, null, xid, data, null);
        if (!c.getBooleanValue("skip")) {
            BusinessActionContext bac = new BusinessActionContext();
            bac.setXid(xid);
            bac.setBranchId(String.valueOf(branch));
            Action action = (Action) ((TCCResource) DefaultResourceManager.get().getManagedResources().get(name)).getTargetBean();
            if (fenced) {
                DefaultCommonFenceHandler.get().prepareFence(xid, branch, name, () -> action.prepare(bac));
            } else {
                action.prepare(bac);
            }
        }
        return branch;
    }

    /** A participant with Seata's own annotations: a TCC action, and a call with its compensation. */
    public final class Annotated {
        @TwoPhaseBusinessAction(name = "reserve", commitMethod = "take", rollbackMethod = "giveBack")
        public boolean reserve(
                BusinessActionContext context,
                @BusinessActionContextParameter(paramName = "item") String item,
                @BusinessActionContextParameter(paramName = "count") long count) {
            BusinessActionContextUtil.addContext("place", Collections.singletonMap("shelf", 7));
            events.add("reserve " + count + " " + item);
            return true;
        }

        public boolean take(BusinessActionContext context) {
            return phaseTwo("take", context);
        }

        public boolean giveBack(BusinessActionContext context) {
            return phaseTwo("give back", context);
        }

        @CompensationBusinessAction(name = "book", compensationMethod = "unbook")
        public boolean book(
                BusinessActionContext context,
                @BusinessActionContextParameter(paramName = "item") String item,
                @BusinessActionContextParameter(paramName = "count") long count) {
            events.add("book " + count + " " + item);
            return true;
        }

        public boolean unbook(BusinessActionContext context) {
            return phaseTwo("unbook", context);
        }

        private boolean phaseTwo(String what, BusinessActionContext c) {
            events.add(what + " " + c.getActionContext("count", Long.class) + " " + c.getActionContext("item", String.class));
            return true;
        }
    }

    private final Annotated annotated = new Annotated();
    private final Map<String, ProxyInvocationHandler> proxiesOf = new HashMap<>();

    /** Has Seata's own parsers register what the annotations say. */
    private void annotated() throws Exception {
        proxiesOf.put("reserve", new TccActionInterceptorParser().parserInterfaceToProxy(annotated, "annotated"));
        proxiesOf.put("book", new SagaAnnotationActionInterceptorParser().parserInterfaceToProxy(annotated, "annotated"));
    }

    private void callAnnotated(JSONObject c, String xid) throws Throwable {
        RootContext.bind(xid);
        String name = c.getString("name");
        Method method = Annotated.class.getMethod(name, BusinessActionContext.class, String.class, long.class);
        Object[] arguments = {null, c.getString("item"), c.getLongValue("count")};
        proxiesOf.get(name).invoke(new DefaultInvocationWrapper(null, annotated, method, arguments));
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
                    out.println(new JSONObject(Map.of("xid", xid)).toJSONString());
                    out.flush();
                    for (String line; (line = in.readLine()) != null; ) {
                        JSONObject command = JSON.parseObject(line);
                        switch (command.getString("op")) {
                            case "end":
                                return null;
                            case "fail":
                                throw new IllegalStateException("the business failed");
                            case "call":
                                call(command.getString("url"), xid);
                                out.println("{}");
                                break;
                            default:
                                JSONObject inner = new JSONObject();
                                carryOut(command.fluentPut("xid", xid), inner);
                                RootContext.bind(xid);
                                out.println(inner.toJSONString());
                        }
                        out.flush();
                    }
                    return null;
                }

                @Override
                public TransactionInfo getTransactionInfo() {
                    return info;
                }
            });
            a.put("outcome", "committed");
        } catch (TransactionalExecutor.ExecutionException e) {
            a.put("outcome", e.getCode().name());
            a.put("error", describe(e));
        }
    }

    private static void call(String url, String xid) throws Exception {
        HttpURLConnection conn = (HttpURLConnection) URI.create(url).toURL().openConnection();
        conn.setRequestMethod("POST");
        conn.setRequestProperty(RootContext.KEY_XID, xid);
        if (conn.getResponseCode() != 200) {
            throw new IllegalStateException("POST " + url + ": " + conn.getResponseCode());
        }
    }

    /** Serves SQL over HTTP: POST /sql?datasource=NAME with the statement as the body, the XID in the header. */
    private int serve() throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/sql", exchange -> {
            String xid = exchange.getRequestHeaders().getFirst(RootContext.KEY_XID);
            JSONObject c = new JSONObject();
            c.put("datasource", exchange.getRequestURI().getQuery().replace("datasource=", ""));
            c.put("autocommit", true);
            c.put("statements", List.of(new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8)));
            int code = 200;
            byte[] answer = new byte[0];
            try {
                sql(c, xid);
            } catch (Exception e) {
                code = 500;
                answer = describe(e).getBytes(StandardCharsets.UTF_8);
            } finally {
                RootContext.unbind();
            }
            exchange.sendResponseHeaders(code, answer.length == 0 ? -1 : answer.length);
            if (answer.length > 0) {
                exchange.getResponseBody().write(answer);
            }
            exchange.close();
        });
        server.start();
        return server.getAddress().getPort();
    }
}
