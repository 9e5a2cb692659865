-- The log of sagas on SQLite. The first three tables are Seata's, column for
-- column; the last two are our own: which process runs an instance, and whether
-- it still may.
-- Times are local text, as 2006-01-02 15:04:05.000.

-- status: AC active, IN inactive
CREATE TABLE IF NOT EXISTS seata_state_machine_def (
    id               TEXT NOT NULL,
    name             TEXT NOT NULL,
    tenant_id        TEXT NOT NULL,
    app_name         TEXT NOT NULL,
    type             TEXT,
    comment_         TEXT,
    ver              TEXT NOT NULL,
    gmt_create       TEXT NOT NULL,
    status           TEXT NOT NULL,
    content          TEXT,
    recover_strategy TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_seata_state_machine_def_name ON seata_state_machine_def (name, tenant_id);

-- status, compensation_status: RU running, SU succeeded, FA failed, UN unknown, SK skipped
CREATE TABLE IF NOT EXISTS seata_state_machine_inst (
    id                  TEXT NOT NULL,
    machine_id          TEXT NOT NULL,
    tenant_id           TEXT NOT NULL,
    parent_id           TEXT,
    gmt_started         TEXT NOT NULL,
    business_key        TEXT,
    start_params        TEXT,
    gmt_end             TEXT,
    excep               BLOB,
    end_params          TEXT,
    status              TEXT,
    compensation_status TEXT,
    is_running          INTEGER,
    gmt_updated         TEXT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT unikey_buz_tenant UNIQUE (business_key, tenant_id)
);
CREATE INDEX IF NOT EXISTS idx_seata_state_machine_inst_parent ON seata_state_machine_inst (parent_id);

-- One row for each run of a state.
CREATE TABLE IF NOT EXISTS seata_state_inst (
    id                       TEXT NOT NULL,
    machine_inst_id          TEXT NOT NULL,
    name                     TEXT NOT NULL,
    type                     TEXT,
    service_name             TEXT,
    service_method           TEXT,
    service_type             TEXT,
    business_key             TEXT,
    state_id_compensated_for TEXT,
    state_id_retried_for     TEXT,
    gmt_started              TEXT NOT NULL,
    is_for_update            INTEGER,
    input_params             TEXT,
    output_params            TEXT,
    status                   TEXT NOT NULL,
    excep                    BLOB,
    gmt_updated              TEXT,
    gmt_end                  TEXT,
    PRIMARY KEY (id, machine_inst_id)
);
CREATE INDEX IF NOT EXISTS idx_seata_state_inst_machine ON seata_state_inst (machine_inst_id);

-- The processes that run sagas. alive_until: milliseconds since 1970.
CREATE TABLE IF NOT EXISTS qiao_saga_node (
    node        TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    alive_until INTEGER NOT NULL,
    PRIMARY KEY (node)
);

-- The instances under way, each with the process that runs it.
CREATE TABLE IF NOT EXISTS qiao_saga_owner (
    machine_inst_id TEXT NOT NULL,
    node            TEXT NOT NULL,
    PRIMARY KEY (machine_inst_id)
);
CREATE INDEX IF NOT EXISTS idx_qiao_saga_owner_node ON qiao_saga_owner (node);
