-- The undo log of AT on SQLite.
CREATE TABLE IF NOT EXISTS undo_log (
    branch_id     INTEGER NOT NULL, -- the branch that wrote the record
    xid           TEXT    NOT NULL, -- its global transaction
    context       TEXT    NOT NULL, -- how rollback_info is written
    rollback_info BLOB    NOT NULL, -- the images of the changed rows
    log_status    INTEGER NOT NULL, -- 0: to be undone on rollback; 1: rolled back already, phase one must not commit
    log_created   TEXT    NOT NULL,
    log_modified  TEXT    NOT NULL,
    UNIQUE (xid, branch_id)
);
CREATE INDEX IF NOT EXISTS ix_log_created ON undo_log (log_created);

-- The file's own id: part of the name by which the coordinator knows it.
CREATE TABLE IF NOT EXISTS qiao_resource (id TEXT NOT NULL);
INSERT INTO qiao_resource (id) SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM qiao_resource);
