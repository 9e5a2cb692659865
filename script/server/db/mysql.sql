-- The tables of a coordinator whose store is MySQL 8 or MariaDB. The first five
-- are Seata's, with the columns and keys of its own script; the others hold what
-- those have no place for, and a Java coordinator does not look at them.

CREATE TABLE IF NOT EXISTS global_table (
  xid                       VARCHAR(128) NOT NULL,
  transaction_id            BIGINT,
  status                    TINYINT      NOT NULL,
  application_id            VARCHAR(64),
  transaction_service_group VARCHAR(64),
  transaction_name          VARCHAR(128),
  timeout                   INT,
  begin_time                BIGINT,
  application_data          VARCHAR(2000),
  gmt_create                DATETIME,
  gmt_modified              DATETIME,
  PRIMARY KEY (xid),
  KEY idx_status_gmt_modified (status, gmt_modified),
  KEY idx_transaction_id (transaction_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS branch_table (
  branch_id         BIGINT       NOT NULL,
  xid               VARCHAR(128) NOT NULL,
  transaction_id    BIGINT,
  resource_group_id VARCHAR(32),
  resource_id       VARCHAR(256),
  branch_type       VARCHAR(20),
  status            TINYINT,
  client_id         VARCHAR(128),
  application_data  VARCHAR(2000),
  gmt_create        DATETIME(6),
  gmt_modified      DATETIME(6),
  PRIMARY KEY (branch_id),
  KEY idx_xid (xid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS lock_table (
  row_key        VARCHAR(768) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  xid            VARCHAR(128),
  transaction_id BIGINT,
  branch_id      BIGINT       NOT NULL,
  resource_id    VARCHAR(256),
  table_name     VARCHAR(64),
  pk             VARCHAR(512),
  status         TINYINT      NOT NULL DEFAULT 0 COMMENT '0: locked, 1: rolling back',
  gmt_create     DATETIME,
  gmt_modified   DATETIME,
  PRIMARY KEY (row_key),
  KEY idx_status (status),
  KEY idx_branch_id (branch_id),
  KEY idx_xid (xid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS distributed_lock (
  lock_key   CHAR(20)    NOT NULL,
  lock_value VARCHAR(64) NOT NULL,
  expire     BIGINT,
  PRIMARY KEY (lock_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS vgroup_table (
  vGroup    VARCHAR(255),
  namespace VARCHAR(255),
  cluster   VARCHAR(255),
  UNIQUE KEY idx_vgroup_namespace_cluster (vGroup, namespace, cluster)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- What a row of global_table has besides. seen tells what its stock rows were
-- when this coordinator last wrote them: who else writes them changes that. decided
-- is the status that it gave the transaction: another one is another program's.
-- outcome is how the transaction has ended should another program remove it.
CREATE TABLE IF NOT EXISTS qiao_global (
  transaction_id BIGINT       NOT NULL,
  xid            VARCHAR(128) NOT NULL,
  revision       BIGINT       NOT NULL,
  due_at         BIGINT       NOT NULL COMMENT 'milliseconds since 1970; 0: never',
  attempts       INT          NOT NULL,
  evidence       MEDIUMTEXT   NOT NULL,
  seen           BIGINT       NOT NULL,
  decided        TINYINT      NOT NULL DEFAULT 0,
  outcome        TINYINT      NOT NULL DEFAULT 0 COMMENT '0: not known',
  PRIMARY KEY (transaction_id),
  KEY idx_due_at (due_at)
) ENGINE = InnoDB;

-- What a row of branch_table has besides. created orders the branches of a
-- transaction; branch_table.gmt_create is the same moment.
CREATE TABLE IF NOT EXISTS qiao_branch (
  branch_id     BIGINT       NOT NULL,
  xid           VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  created       BIGINT       NOT NULL COMMENT 'microseconds since 1970',
  registered_at BIGINT       NOT NULL COMMENT 'milliseconds since 1970',
  locked        BOOLEAN      NOT NULL,
  lock_key      LONGTEXT     CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  request_key   VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (branch_id),
  KEY idx_xid (xid)
) ENGINE = InnoDB;

-- How finished transactions ended, for as long as they answer with that.
CREATE TABLE IF NOT EXISTS qiao_tombstone (
  transaction_id BIGINT       NOT NULL,
  xid            VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  outcome        TINYINT      NOT NULL,
  expires_at     BIGINT       NOT NULL COMMENT 'milliseconds since 1970',
  PRIMARY KEY (transaction_id),
  KEY idx_expires_at (expires_at)
) ENGINE = InnoDB;

-- The latest id that was stored of each worker.
CREATE TABLE IF NOT EXISTS qiao_ids (
  worker  INT    NOT NULL,
  last_id BIGINT NOT NULL,
  PRIMARY KEY (worker)
) ENGINE = InnoDB;

-- The coordinators that use these tables now: who holds a worker id, and until
-- when by the database's clock.
CREATE TABLE IF NOT EXISTS qiao_node (
  worker     INT          NOT NULL,
  token      VARCHAR(64)  NOT NULL,
  address    VARCHAR(128) NOT NULL,
  expires_at BIGINT       NOT NULL COMMENT 'milliseconds since 1970',
  PRIMARY KEY (worker)
) ENGINE = InnoDB;

-- What else is kept beside the transactions.
CREATE TABLE IF NOT EXISTS qiao_note (
  kind     VARCHAR(32)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  note_key VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  value    MEDIUMTEXT   NOT NULL,
  PRIMARY KEY (kind, note_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
