import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.channel.embedded.EmbeddedChannel;
import io.seata.core.model.*;
import io.seata.core.protocol.*;
import io.seata.core.protocol.transaction.*;
import io.seata.core.rpc.netty.MessageCodecHandler;
import io.seata.core.exception.TransactionExceptionCode;

/** Prints frames of version 0 as Seata 0.6.1's own MessageCodecHandler writes them. */
public class Old {
    static void frame(String name, Object body, long id, boolean request, boolean async, boolean heartbeat) {
        RpcMessage m = new RpcMessage();
        m.setId(id); m.setBody(body); m.setRequest(request); m.setAsync(async); m.setHeartbeat(heartbeat);
        EmbeddedChannel c = new EmbeddedChannel(new MessageCodecHandler());
        c.writeOutbound(m);
        ByteBuf b = c.readOutbound();
        System.out.println("{\"by\":\"0.6.1\",\"name\":\"" + name + "\",\"hex\":\"" + ByteBufUtil.hexDump(b) + "\"}");
    }

    public static void main(String[] args) {
        RegisterTMRequest tm = new RegisterTMRequest("app", "my_test_tx_group");
        frame("RegisterTM", tm, 1, true, false, false);
        RegisterRMRequest rm = new RegisterRMRequest("app", "my_test_tx_group");
        rm.setResourceIds("jdbc:mysql://192.0.2.2:3306/a,jdbc:mysql://192.0.2.2:3306/b");
        frame("RegisterRM", rm, 2, true, false, false);
        GlobalBeginRequest begin = new GlobalBeginRequest();
        begin.setTimeout(10000); begin.setTransactionName("trial");
        frame("GlobalBegin", begin, 3, true, false, false);
        BranchRegisterRequest branch = new BranchRegisterRequest();
        branch.setXid("192.0.2.2:8091:42"); branch.setBranchType(BranchType.AT);
        branch.setResourceId("jdbc:mysql://192.0.2.2:3306/a"); branch.setLockKey("account:1,2"); branch.setApplicationData("{}");
        BranchReportRequest report = new BranchReportRequest();
        report.setXid("192.0.2.2:8091:42"); report.setBranchId(43); report.setStatus(BranchStatus.PhaseOne_Done);
        report.setResourceId("jdbc:mysql://192.0.2.2:3306/a"); report.setBranchType(BranchType.AT);
        GlobalCommitRequest commit = new GlobalCommitRequest(); commit.setXid("192.0.2.2:8091:42");
        GlobalRollbackRequest rollback = new GlobalRollbackRequest(); rollback.setXid("192.0.2.2:8091:42");
        GlobalStatusRequest status = new GlobalStatusRequest(); status.setXid("192.0.2.2:8091:42"); status.setExtraData("e");
        GlobalLockQueryRequest lock = new GlobalLockQueryRequest();
        lock.setXid("192.0.2.2:8091:42"); lock.setResourceId("jdbc:mysql://192.0.2.2:3306/a"); lock.setLockKey("account:3");
        MergedWarpMessage merged = new MergedWarpMessage();
        merged.msgs.add(begin); merged.msgs.add(branch); merged.msgs.add(report); merged.msgs.add(commit);
        merged.msgs.add(rollback); merged.msgs.add(status); merged.msgs.add(lock);
        frame("Merged", merged, 9, true, true, false);
        BranchCommitResponse committed = new BranchCommitResponse();
        committed.setResultCode(ResultCode.Success); committed.setXid("192.0.2.2:8091:42"); committed.setBranchId(43);
        committed.setBranchStatus(BranchStatus.PhaseTwo_Committed);
        frame("BranchCommitResult", committed, 77, false, true, false);
        BranchRollbackResponse failed = new BranchRollbackResponse();
        failed.setResultCode(ResultCode.Failed); failed.setMsg("no"); failed.setXid("192.0.2.2:8091:42"); failed.setBranchId(43);
        failed.setBranchStatus(BranchStatus.PhaseTwo_RollbackFailed_Retryable);
        frame("BranchRollbackResult", failed, 78, false, true, false);
        frame("HeartbeatRequest", HeartbeatMessage.PING, 5, true, true, true);
        frame("HeartbeatResponse", HeartbeatMessage.PONG, 5, false, true, true);
        frame("GlobalStatus", status, 0x1234567890abcdefL, true, false, false);
    }
}
