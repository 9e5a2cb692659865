package qiao;

import io.seata.core.model.BranchType;
import io.seata.rm.DefaultResourceManager;
import io.seata.rm.RMClient;
import io.seata.rm.tcc.TCCResource;
import io.seata.rm.tcc.api.BusinessActionContext;
import io.seata.tm.TMClient;
import io.seata.tm.api.GlobalTransaction;
import io.seata.tm.api.GlobalTransactionContext;

/** A client of Seata 0.6.1: one global transaction with a TCC branch commits, one rolls back; it prints what it sees. */
public class Old {
    public boolean confirm(BusinessActionContext context) {
        System.out.println("confirm");
        return true;
    }

    public boolean cancel(BusinessActionContext context) {
        System.out.println("cancel");
        return true;
    }

    public static void main(String[] args) throws Exception {
        TMClient.init("old", "my_test_tx_group");
        RMClient.init("old", "my_test_tx_group");
        TCCResource resource = new TCCResource();
        resource.setActionName("debit");
        resource.setResourceGroupId("DEFAULT");
        resource.setTargetBean(new Old());
        resource.setCommitMethodName("confirm");
        resource.setRollbackMethodName("cancel");
        resource.setCommitMethod(Old.class.getMethod("confirm", BusinessActionContext.class));
        resource.setRollbackMethod(Old.class.getMethod("cancel", BusinessActionContext.class));
        DefaultResourceManager.get().registerResource(resource);
        for (boolean commit : new boolean[] {true, false}) {
            GlobalTransaction transaction = GlobalTransactionContext.getCurrentOrCreate();
            transaction.begin(60_000, "old");
            System.out.println(transaction.getStatus());
            DefaultResourceManager.get().branchRegister(BranchType.TCC, "debit", null, transaction.getXid(), "{\"actionContext\":{}}", null);
            if (commit) {
                transaction.commit();
            } else {
                transaction.rollback();
            }
            System.out.println(transaction.getStatus());
        }
        Thread.sleep(7_000); // longer than the 5 s after which it sends a heartbeat
        GlobalTransaction transaction = GlobalTransactionContext.getCurrentOrCreate();
        transaction.begin(60_000, "after a heartbeat");
        System.out.println(transaction.getStatus());
        System.exit(0);
    }
}
