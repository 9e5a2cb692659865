import io.netty.buffer.*;
import java.util.*;
import org.apache.seata.core.model.*;
import org.apache.seata.core.protocol.*;
import org.apache.seata.core.protocol.transaction.*;
import org.apache.seata.core.rpc.netty.v0.ProtocolEncoderV0;

/** Prints frames of version 0 as Seata 2.5.0's ProtocolEncoderV0, of its coordinator, writes them. */
public class New {
    static void frame(String name, Object body, int id, byte type) {
        RpcMessage m = new RpcMessage();
        m.setId(id); m.setBody(body); m.setMessageType(type); // A heartbeat names no codec; its answer repeats what Java reads from that.
        m.setCodec((byte) (body instanceof HeartbeatMessage ? 22 : 1));
        ByteBuf b = Unpooled.buffer();
        new ProtocolEncoderV0().encode(m, b);
        System.out.println("{\"by\":\"2.5.0\",\"name\":\"" + name + "\",\"hex\":\"" + ByteBufUtil.hexDump(b) + "\"}");
    }

    public static void main(String[] args) {
        RegisterTMResponse tm = new RegisterTMResponse(); tm.setIdentified(true); tm.setVersion("2.5.0");
        frame("RegisterTMResult", tm, 1, (byte) 1);
        RegisterRMResponse rm = new RegisterRMResponse(); rm.setIdentified(true); rm.setVersion("2.5.0");
        frame("RegisterRMResult", rm, 2, (byte) 1);
        GlobalBeginResponse begin = new GlobalBeginResponse();
        begin.setResultCode(ResultCode.Success); begin.setXid("192.0.2.2:8091:42");
        BranchRegisterResponse branch = new BranchRegisterResponse();
        branch.setResultCode(ResultCode.Failed); branch.setMsg("held by another"); branch.setBranchId(0);
        branch.setTransactionExceptionCode(org.apache.seata.core.exception.TransactionExceptionCode.LockKeyConflict);
        BranchReportResponse report = new BranchReportResponse(); report.setResultCode(ResultCode.Success);
        GlobalCommitResponse commit = new GlobalCommitResponse();
        commit.setResultCode(ResultCode.Success); commit.setGlobalStatus(GlobalStatus.Committed);
        GlobalRollbackResponse rollback = new GlobalRollbackResponse();
        rollback.setResultCode(ResultCode.Success); rollback.setGlobalStatus(GlobalStatus.Rollbacked);
        GlobalStatusResponse status = new GlobalStatusResponse();
        status.setResultCode(ResultCode.Success); status.setGlobalStatus(GlobalStatus.Begin);
        GlobalLockQueryResponse lock = new GlobalLockQueryResponse();
        lock.setResultCode(ResultCode.Success); lock.setLockable(true);
        MergeResultMessage merged = new MergeResultMessage();
        merged.setMsgs(new AbstractResultMessage[] {begin, branch, report, commit, rollback, status, lock});
        frame("MergedResult", merged, 9, (byte) 1);
        BranchCommitRequest order = new BranchCommitRequest();
        order.setXid("192.0.2.2:8091:42"); order.setBranchId(43); order.setBranchType(BranchType.AT);
        order.setResourceId("jdbc:mysql://192.0.2.2:3306/a"); order.setApplicationData("{}");
        frame("BranchCommit", order, 77, (byte) 0);
        BranchRollbackRequest back = new BranchRollbackRequest();
        back.setXid("192.0.2.2:8091:42"); back.setBranchId(43); back.setBranchType(BranchType.TCC); back.setResourceId("debit");
        frame("BranchRollback", back, 78, (byte) 0);
        frame("HeartbeatResponse", HeartbeatMessage.PONG, 5, (byte) 4);
    }
}
