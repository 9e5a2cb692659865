package redis

import (
	"fmt"
	"strconv"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// keys names what is in Redis. The first names are Seata's
// (org.apache.seata.server.storage.redis), the QIAO_ ones are ours. In a cluster all
// begin with one hash tag, so that all are in one shard.
type keys struct{ prefix string }

func (k keys) global(id int64) string        { return k.globals() + strconv.FormatInt(id, 10) }
func (k keys) globals() string               { return k.prefix + "SEATA_GLOBAL_" }
func (k keys) branch(id int64) string        { return k.prefix + "SEATA_BRANCH_" + strconv.FormatInt(id, 10) }
func (k keys) branches(x string) string      { return k.prefix + "SEATA_BRANCHES_" + x }
func (k keys) begun() string                 { return k.prefix + "SEATA_BEGIN_TRANSACTIONS" }
func (k keys) row(row storage.RowKey) string { return k.rows() + string(row) }
func (k keys) rows() string                  { return k.prefix + "SEATA_ROW_LOCK_" }
func (k keys) locks(x string) string         { return k.prefix + "SEATA_GLOBAL_LOCK" + x }
func (k keys) status(s protocol.GlobalStatus) string {
	return k.prefix + "SEATA_STATUS_" + strconv.Itoa(int(s))
}

// live is a sorted set of the ids of live transactions, in the order of the ids.
func (k keys) live() string { return k.prefix + "QIAO_LIVE" }

// due is a sorted set of the same ids by DueAt.
func (k keys) due() string { return k.prefix + "QIAO_DUE" }

// tombstones is a sorted set of ids by graveScore.
func (k keys) tombstones() string { return k.prefix + "QIAO_TOMBSTONES" }

// ids is a sorted set of workers by the highest sequence of an id of theirs.
func (k keys) ids() string { return k.prefix + "QIAO_IDS" }

// counts is a number: branches times 2^32, plus locks.
func (k keys) counts() string { return k.prefix + "QIAO_COUNTS" }

// workers is a hash from each worker id in use to "token address".
func (k keys) workers() string { return k.prefix + "QIAO_WORKERS" }

// leases is what the key of a worker's lease begins with; its value is the token.
func (k keys) leases() string          { return k.prefix + "QIAO_LEASE_" }
func (k keys) lease(worker int) string { return k.leases() + strconv.Itoa(worker) }

// notes is a hash of the notes that Seata has no place for.
func (k keys) notes() string { return k.prefix + "QIAO_NOTES" }

// namespaces is what the key of a namespace's transaction groups begins with: Seata's
// hashes from a group to the cluster that serves it
// (org.apache.seata.server.storage.redis.store.RedisVGroupMappingStoreManager).
func (k keys) namespaces() string { return k.prefix + "SEATA_NAMINGSERVER_NAMESPACE_" }

// member names a transaction in live and due: texts of one length, whose order is
// that of the ids.
func member(id int64) string { return fmt.Sprintf("%019d", id) }

// graveScore is a tombstone's score: when it expires, and its outcome in the low bits.
func graveScore(t *storage.Tombstone) int64 {
	return min(max(t.ExpiresAt, 0), 1<<46)<<graveBits | int64(t.Outcome)&(1<<graveBits-1)
}

// graveBits holds every status of Seata's; a score stays below 2^53, up to which
// Redis counts exactly.
const graveBits = 6

// graveOutcome is the outcome in a score.
func graveOutcome(score int64) protocol.GlobalStatus {
	return protocol.GlobalStatus(score & (1<<graveBits - 1))
}
