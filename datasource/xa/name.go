package xa

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// formatID marks Seata's branches among all the prepared transactions of a
// database (org.apache.seata.rm.datasource.xa.XABranchXid).
const formatID = 9752

// maxGTRID is the most bytes of a global transaction's id in XA.
const maxGTRID = 64

// name is what the database calls a branch. It equals Java's, so that a Java
// resource manager can finish the branch and the reverse.
type name struct {
	xid string
	id  int64
}

func (n name) qualifier() string { return "-" + strconv.FormatInt(n.id, 10) }

func (n name) check() error {
	if len(n.xid) == 0 || len(n.xid) > maxGTRID {
		return fmt.Errorf("the XID %q has %d bytes: XA takes 1 to %d", n.xid, len(n.xid), maxGTRID)
	}
	return nil
}

// text is the name as the database's statements have it.
func (n name) text(d schema.Dialect) string {
	if d == schema.PostgreSQL {
		return "'" + n.gid() + "'"
	}
	return fmt.Sprintf("X'%x',X'%x',%d", n.xid, n.qualifier(), formatID)
}

// gid is the name of a prepared transaction as pgjdbc writes it
// (org.postgresql.xa.RecoveredXid).
func (n name) gid() string {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%d_%s_%s", formatID, encode([]byte(n.xid)), encode([]byte(n.qualifier())))
}

// nameOfGID reads what gid writes; ok is false for other prepared transactions.
func nameOfGID(gid string) (n name, ok bool) {
	parts := strings.Split(gid, "_")
	if len(parts) != 3 || parts[0] != strconv.Itoa(formatID) {
		return name{}, false
	}
	xid, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil {
		return name{}, false
	}
	qualifier, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return name{}, false
	}
	return nameOf(string(xid), string(qualifier))
}

// nameOf puts a name together of the two parts that the database shows.
func nameOf(xid, qualifier string) (n name, ok bool) {
	digits, found := strings.CutPrefix(qualifier, "-")
	id, err := strconv.ParseInt(digits, 10, 64)
	if !found || err != nil || xid == "" {
		return name{}, false
	}
	return name{xid, id}, true
}
