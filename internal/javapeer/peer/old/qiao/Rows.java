package qiao;

import com.alibaba.druid.pool.DruidDataSource;
import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import io.seata.core.context.RootContext;
import io.seata.core.model.BranchType;
import io.seata.rm.DefaultResourceManager;
import io.seata.rm.RMClient;
import io.seata.rm.datasource.DataSourceProxy;
import io.seata.tm.TMClient;
import io.seata.tm.TransactionManagerHolder;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.Statement;

/** What Peer is for AT, for clients from before Seata's packages were called org.apache.seata. */
public final class Rows {
    private DataSourceProxy proxy;

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        TMClient.init(args[0], "default_tx_group");
        RMClient.init(args[0], "default_tx_group");
        Rows rows = new Rows();
        answers.println("{\"ready\":true}");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JSONObject answer = new JSONObject();
            try {
                rows.carryOut(JSON.parseObject(line), answer);
            } catch (Exception e) {
                answer.put("error", e + " <- " + e.getCause());
            } finally {
                RootContext.unbind();
            }
            answers.println(answer.toJSONString());
            answers.flush();
        }
        System.exit(0);
    }

    private void carryOut(JSONObject c, JSONObject answer) throws Exception {
        String xid = c.getString("xid");
        switch (c.getString("op")) {
            case "begin":
                answer.put("xid", TransactionManagerHolder.get().begin(null, null, c.getString("name"), c.getIntValue("timeout")));
                break;
            case "rollback":
                answer.put("status", TransactionManagerHolder.get().rollback(xid).name());
                break;
            case "datasource":
                DruidDataSource d = new DruidDataSource();
                d.setUrl(c.getString("url"));
                d.setDriverClassName("com.mysql.cj.jdbc.Driver");
                d.setBreakAfterAcquireFailure(true);
                d.setConnectionErrorRetryAttempts(0);
                d.setMaxActive(4);
                proxy = new DataSourceProxy(d);
                break;
            case "sql":
                RootContext.bind(xid);
                sql(c);
                break;
            case "undo":
                answer.put("status", DefaultResourceManager.get()
                        .branchRollback(BranchType.AT, xid, c.getLongValue("branch"), proxy.getResourceId(), null).name());
                break;
            default:
                throw new IllegalArgumentException("unknown op " + c);
        }
    }

    private void sql(JSONObject c) throws Exception {
        try (Connection conn = proxy.getConnection(); Statement s = conn.createStatement()) {
            conn.setAutoCommit(false);
            try {
                for (Object text : c.getJSONArray("statements")) {
                    s.execute((String) text);
                }
                conn.commit();
            } catch (Exception e) {
                conn.rollback();
                throw e;
            }
        }
    }
}
