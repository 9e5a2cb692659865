-- The fence of TCC actions on MySQL and MariaDB: one row for each branch that
-- was tried or cancelled here. Column for column the table of Apache Seata, so
-- that Java and Go participants can share it.
-- status: 1 tried, 2 committed, 3 rolled back, 4 suspended (cancelled before any try)
CREATE TABLE IF NOT EXISTS tcc_fence_log (
    xid          VARCHAR(128) NOT NULL,
    branch_id    BIGINT       NOT NULL,
    action_name  VARCHAR(64)  NOT NULL,
    status       TINYINT      NOT NULL,
    gmt_create   DATETIME(3)  NOT NULL,
    gmt_modified DATETIME(3)  NOT NULL,
    PRIMARY KEY (xid, branch_id),
    KEY idx_gmt_modified (gmt_modified),
    KEY idx_status (status)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
