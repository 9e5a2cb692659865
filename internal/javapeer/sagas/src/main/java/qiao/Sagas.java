package qiao;

import com.mysql.cj.jdbc.MysqlDataSource;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.seata.saga.engine.config.DbStateMachineConfig;
import org.apache.seata.saga.engine.impl.ProcessCtrlStateMachineEngine;
import org.apache.seata.saga.engine.tm.SagaTransactionalTemplate;
import org.apache.seata.saga.statelang.domain.StateInstance;
import org.apache.seata.saga.statelang.domain.StateMachineInstance;
import org.apache.seata.tm.api.GlobalTransaction;
import org.springframework.context.support.StaticApplicationContext;

/**
 * Seata's saga engine on a database, without a coordinator. The arguments are the
 * database, the JSON parser, and the directory of the machines, then the commands: "start
 * machine key=value…", "forward id key=value…", "compensate id key=value…", "show id".
 * Each answers with lines of runs and a last line "= id status compensation".
 */
public class Sagas {
    public static class Refused extends RuntimeException {
        public Refused(String message) { super(message); }
    }

    /** The services: they answer with their input, or refuse. */
    public static class Demo {
        public Map<String, Object> book(Map<String, Object> input) { return answer(input); }
        public Map<String, Object> cancel(Map<String, Object> input) { return answer(input); }

        private Map<String, Object> answer(Map<String, Object> input) {
            if ("true".equals(input.get("refuse"))) throw new Refused("refused: 满");
            return input;
        }
    }

    private static GlobalTransaction transaction(String xid) {
        return (GlobalTransaction) Proxy.newProxyInstance(Sagas.class.getClassLoader(), new Class[] {GlobalTransaction.class},
            (proxy, method, args) -> method.getName().equals("getXid") ? xid : null);
    }

    public static void main(String[] args) throws Exception {
        MysqlDataSource database = new MysqlDataSource();
        database.setUrl(args[0]);
        StaticApplicationContext spring = new StaticApplicationContext();
        spring.getBeanFactory().registerSingleton("demo", new Demo());
        AtomicLong branches = new AtomicLong(System.currentTimeMillis() << 20);
        DbStateMachineConfig config = new DbStateMachineConfig();
        config.setDataSource(database);
        config.setApplicationContext(spring);
        config.setApplicationId("java");
        config.setTxServiceGroup("group");
        config.setSagaJsonParser(args[1]);
        config.setSagaBranchRegisterEnable(true);
        config.setRmReportSuccessEnable(true);
        config.setResources(new String[] {"file:" + args[2] + "/*.json"});
        config.setSagaTransactionalTemplate((SagaTransactionalTemplate) Proxy.newProxyInstance(Sagas.class.getClassLoader(),
            new Class[] {SagaTransactionalTemplate.class}, (proxy, method, a) -> switch (method.getName()) {
                case "beginTransaction" -> transaction("java:1:" + UUID.randomUUID());
                case "reloadTransaction" -> transaction((String) a[0]);
                case "branchRegister" -> branches.incrementAndGet();
                default -> null;
            }));
        config.afterPropertiesSet();
        ProcessCtrlStateMachineEngine engine = new ProcessCtrlStateMachineEngine();
        engine.setStateMachineConfig(config);
        for (int i = 3; i < args.length; i++) {
            String[] word = args[i].split(" ");
            Map<String, Object> params = new HashMap<>();
            for (int j = 2; j < word.length; j++) params.put(word[j].split("=")[0], word[j].split("=")[1]);
            StateMachineInstance saga = switch (word[0]) {
                case "start" -> engine.start(word[1], null, params);
                case "forward" -> engine.forward(word[1], params);
                case "compensate" -> engine.compensate(word[1], params);
                default -> engine.reloadStateMachineInstance(word[1]);
            };
            saga = engine.reloadStateMachineInstance(saga.getId()); // what the log says
            for (StateInstance s : saga.getStateList()) {
                System.out.println(s.getName() + " " + s.getStatus() + (s.getException() == null ? "" : " (" + s.getException().getMessage() + ")"));
            }
            System.out.println("= " + saga.getId() + " " + saga.getStatus() + " " + saga.getCompensationStatus());
        }
        Files.writeString(Path.of(args[2], "done"), "");
        System.exit(0);
    }
}
