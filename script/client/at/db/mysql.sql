-- The undo log of AT on MySQL and MariaDB, as Apache Seata's clients know it:
-- Go and Java services on one database share it.
CREATE TABLE IF NOT EXISTS undo_log (
    branch_id     BIGINT       NOT NULL COMMENT 'the branch that wrote the record',
    xid           VARCHAR(128) NOT NULL COMMENT 'its global transaction',
    context       VARCHAR(128) NOT NULL COMMENT 'how rollback_info is written',
    rollback_info LONGBLOB     NOT NULL COMMENT 'the images of the changed rows',
    log_status    INT          NOT NULL COMMENT '0: to be undone on rollback; 1: rolled back already, phase one must not commit',
    log_created   DATETIME(6)  NOT NULL,
    log_modified  DATETIME(6)  NOT NULL,
    UNIQUE KEY ux_undo_log (xid, branch_id),
    KEY ix_log_created (log_created)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'AT transaction mode undo table';
