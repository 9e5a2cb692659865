-- The log of sagas on PostgreSQL. The first three tables are Seata's, column for
-- column; the last two are our own: which process runs an instance, and whether
-- it still may.

-- status: AC active, IN inactive
CREATE TABLE IF NOT EXISTS seata_state_machine_def (
    id               VARCHAR(32) NOT NULL,
    name             VARCHAR(128) NOT NULL,
    tenant_id        VARCHAR(32) NOT NULL,
    app_name         VARCHAR(32) NOT NULL,
    type             VARCHAR(20),
    comment_         VARCHAR(255),
    ver              VARCHAR(16) NOT NULL,
    gmt_create       TIMESTAMP(3) NOT NULL,
    status           VARCHAR(2) NOT NULL,
    content          TEXT,
    recover_strategy VARCHAR(16),
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_seata_state_machine_def_name ON seata_state_machine_def (name, tenant_id);

-- status, compensation_status: RU running, SU succeeded, FA failed, UN unknown, SK skipped
CREATE TABLE IF NOT EXISTS seata_state_machine_inst (
    id                  VARCHAR(128) NOT NULL,
    machine_id          VARCHAR(32) NOT NULL,
    tenant_id           VARCHAR(32) NOT NULL,
    parent_id           VARCHAR(128),
    gmt_started         TIMESTAMP(3) NOT NULL,
    business_key        VARCHAR(48),
    start_params        TEXT,
    gmt_end             TIMESTAMP(3),
    excep               BYTEA,
    end_params          TEXT,
    status              VARCHAR(2),
    compensation_status VARCHAR(2),
    is_running          BOOLEAN,
    gmt_updated         TIMESTAMP(3) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT unikey_buz_tenant UNIQUE (business_key, tenant_id)
);
CREATE INDEX IF NOT EXISTS idx_seata_state_machine_inst_parent ON seata_state_machine_inst (parent_id);

-- One row for each run of a state.
CREATE TABLE IF NOT EXISTS seata_state_inst (
    id                       VARCHAR(48) NOT NULL,
    machine_inst_id          VARCHAR(128) NOT NULL,
    name                     VARCHAR(128) NOT NULL,
    type                     VARCHAR(20),
    service_name             VARCHAR(128),
    service_method           VARCHAR(128),
    service_type             VARCHAR(16),
    business_key             VARCHAR(48),
    state_id_compensated_for VARCHAR(50),
    state_id_retried_for     VARCHAR(50),
    gmt_started              TIMESTAMP(3) NOT NULL,
    is_for_update            BOOLEAN,
    input_params             TEXT,
    output_params            TEXT,
    status                   VARCHAR(2) NOT NULL,
    excep                    BYTEA,
    gmt_updated              TIMESTAMP(3),
    gmt_end                  TIMESTAMP(3),
    PRIMARY KEY (id, machine_inst_id)
);
CREATE INDEX IF NOT EXISTS idx_seata_state_inst_machine ON seata_state_inst (machine_inst_id);

-- The processes that run sagas. alive_until: milliseconds since 1970.
CREATE TABLE IF NOT EXISTS qiao_saga_node (
    node        VARCHAR(64) NOT NULL,
    epoch       BIGINT NOT NULL,
    alive_until BIGINT NOT NULL,
    PRIMARY KEY (node)
);

-- The instances under way, each with the process that runs it.
CREATE TABLE IF NOT EXISTS qiao_saga_owner (
    machine_inst_id VARCHAR(128) NOT NULL,
    node            VARCHAR(64) NOT NULL,
    PRIMARY KEY (machine_inst_id)
);
CREATE INDEX IF NOT EXISTS idx_qiao_saga_owner_node ON qiao_saga_owner (node);
