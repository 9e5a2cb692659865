-- The fence of TCC actions on SQLite: one row for each branch that was tried or
-- cancelled here. Times are UTC text, as 2006-01-02 15:04:05.000.
-- status: 1 tried, 2 committed, 3 rolled back, 4 suspended (cancelled before any try)
CREATE TABLE IF NOT EXISTS tcc_fence_log (
    xid          TEXT    NOT NULL,
    branch_id    INTEGER NOT NULL,
    action_name  TEXT    NOT NULL,
    status       INTEGER NOT NULL,
    gmt_create   TEXT    NOT NULL,
    gmt_modified TEXT    NOT NULL,
    PRIMARY KEY (xid, branch_id)
);
CREATE INDEX IF NOT EXISTS idx_tcc_fence_log_gmt_modified ON tcc_fence_log (gmt_modified);
