-- The log of sagas on MySQL and MariaDB. The first three tables are Seata's, column for
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
    gmt_create       DATETIME(3) NOT NULL,
    status           VARCHAR(2) NOT NULL,
    content          TEXT,
    recover_strategy VARCHAR(16),
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- status, compensation_status: RU running, SU succeeded, FA failed, UN unknown, SK skipped
CREATE TABLE IF NOT EXISTS seata_state_machine_inst (
    id                  VARCHAR(128) NOT NULL,
    machine_id          VARCHAR(32) NOT NULL,
    tenant_id           VARCHAR(32) NOT NULL,
    parent_id           VARCHAR(128),
    gmt_started         DATETIME(3) NOT NULL,
    business_key        VARCHAR(48),
    start_params        TEXT,
    gmt_end             DATETIME(3),
    excep               BLOB,
    end_params          TEXT,
    status              VARCHAR(2),
    compensation_status VARCHAR(2),
    is_running          TINYINT(1),
    gmt_updated         DATETIME(3) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY unikey_buz_tenant (business_key, tenant_id),
    KEY idx_parent_id (parent_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

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
    gmt_started              DATETIME(3) NOT NULL,
    is_for_update            TINYINT(1),
    input_params             TEXT,
    output_params            TEXT,
    status                   VARCHAR(2) NOT NULL,
    excep                    BLOB,
    gmt_updated              DATETIME(3),
    gmt_end                  DATETIME(3),
    PRIMARY KEY (id, machine_inst_id),
    KEY idx_machine_inst_id (machine_inst_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The processes that run sagas. alive_until: milliseconds since 1970.
CREATE TABLE IF NOT EXISTS qiao_saga_node (
    node        VARCHAR(64) NOT NULL,
    epoch       BIGINT NOT NULL,
    alive_until BIGINT NOT NULL,
    PRIMARY KEY (node)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The instances under way, each with the process that runs it.
CREATE TABLE IF NOT EXISTS qiao_saga_owner (
    machine_inst_id VARCHAR(128) NOT NULL,
    node            VARCHAR(64) NOT NULL,
    PRIMARY KEY (machine_inst_id),
    KEY idx_node (node)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
