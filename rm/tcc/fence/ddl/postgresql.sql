-- The fence of TCC actions on PostgreSQL: one row for each branch that was tried
-- or cancelled here. Column for column the table of Apache Seata, so that Java
-- and Go participants can share it. Times of Go are UTC.
-- status: 1 tried, 2 committed, 3 rolled back, 4 suspended (cancelled before any try)
CREATE TABLE IF NOT EXISTS tcc_fence_log (
    xid          VARCHAR(128) NOT NULL,
    branch_id    BIGINT       NOT NULL,
    action_name  VARCHAR(64)  NOT NULL,
    status       SMALLINT     NOT NULL,
    gmt_create   TIMESTAMP(3) NOT NULL,
    gmt_modified TIMESTAMP(3) NOT NULL,
    CONSTRAINT pk_tcc_fence_log PRIMARY KEY (xid, branch_id)
);
CREATE INDEX IF NOT EXISTS idx_gmt_modified ON tcc_fence_log (gmt_modified);
CREATE INDEX IF NOT EXISTS idx_status ON tcc_fence_log (status);
