-- The undo log of AT on PostgreSQL, as Apache Seata's clients know it: Go and
-- Java services on one database share it. It belongs into the schema that the
-- services' connections find first (search_path, or Java's currentSchema). The
-- serial column makes the sequence undo_log_id_seq, which Java calls by name.
CREATE TABLE IF NOT EXISTS undo_log (
    id            SERIAL       NOT NULL,
    branch_id     BIGINT       NOT NULL, -- the branch that wrote the record
    xid           VARCHAR(128) NOT NULL, -- its global transaction
    context       VARCHAR(128) NOT NULL, -- how rollback_info is written
    rollback_info BYTEA        NOT NULL, -- the images of the changed rows
    log_status    INT          NOT NULL, -- 0: to be undone on rollback; 1: rolled back already, phase one must not commit
    log_created   TIMESTAMP(0) NOT NULL,
    log_modified  TIMESTAMP(0) NOT NULL,
    CONSTRAINT pk_undo_log PRIMARY KEY (id),
    CONSTRAINT ux_undo_log UNIQUE (xid, branch_id)
);
CREATE INDEX IF NOT EXISTS ix_log_created ON undo_log (log_created);
