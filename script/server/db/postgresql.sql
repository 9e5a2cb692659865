-- The tables of a coordinator whose store is PostgreSQL. The first five are
-- Seata's, with the columns and keys of its own script; the others hold what
-- those have no place for, and a Java coordinator does not look at them.

CREATE TABLE IF NOT EXISTS global_table (
  xid                       VARCHAR(128) NOT NULL,
  transaction_id            BIGINT,
  status                    SMALLINT     NOT NULL,
  application_id            VARCHAR(64),
  transaction_service_group VARCHAR(64),
  transaction_name          VARCHAR(128),
  timeout                   INT,
  begin_time                BIGINT,
  application_data          VARCHAR(2000),
  gmt_create                TIMESTAMP(0),
  gmt_modified              TIMESTAMP(0),
  CONSTRAINT pk_global_table PRIMARY KEY (xid)
);
CREATE INDEX IF NOT EXISTS idx_global_table_status_gmt_modified ON global_table (status, gmt_modified);
CREATE INDEX IF NOT EXISTS idx_global_table_transaction_id ON global_table (transaction_id);

CREATE TABLE IF NOT EXISTS branch_table (
  branch_id         BIGINT       NOT NULL,
  xid               VARCHAR(128) NOT NULL,
  transaction_id    BIGINT,
  resource_group_id VARCHAR(32),
  resource_id       VARCHAR(256),
  branch_type       VARCHAR(20),
  status            SMALLINT,
  client_id         VARCHAR(128),
  application_data  VARCHAR(2000),
  gmt_create        TIMESTAMP(6),
  gmt_modified      TIMESTAMP(6),
  CONSTRAINT pk_branch_table PRIMARY KEY (branch_id)
);
CREATE INDEX IF NOT EXISTS idx_branch_table_xid ON branch_table (xid);

CREATE TABLE IF NOT EXISTS lock_table (
  row_key        VARCHAR(768) NOT NULL,
  xid            VARCHAR(128),
  transaction_id BIGINT,
  branch_id      BIGINT       NOT NULL,
  resource_id    VARCHAR(256),
  table_name     VARCHAR(64),
  pk             VARCHAR(512),
  status         SMALLINT     NOT NULL DEFAULT 0,
  gmt_create     TIMESTAMP(0),
  gmt_modified   TIMESTAMP(0),
  CONSTRAINT pk_lock_table PRIMARY KEY (row_key)
);
COMMENT ON COLUMN lock_table.status IS '0: locked, 1: rolling back';
CREATE INDEX IF NOT EXISTS idx_lock_table_branch_id ON lock_table (branch_id);
CREATE INDEX IF NOT EXISTS idx_lock_table_xid ON lock_table (xid);
CREATE INDEX IF NOT EXISTS idx_lock_table_status ON lock_table (status);

CREATE TABLE IF NOT EXISTS distributed_lock (
  lock_key   VARCHAR(20) NOT NULL,
  lock_value VARCHAR(64) NOT NULL,
  expire     BIGINT      NOT NULL,
  CONSTRAINT pk_distributed_lock_table PRIMARY KEY (lock_key)
);

CREATE TABLE IF NOT EXISTS vgroup_table (
  vGroup    VARCHAR(255),
  namespace VARCHAR(255),
  cluster   VARCHAR(255),
  CONSTRAINT idx_vgroup_namespace_cluster UNIQUE (vGroup, namespace, cluster)
);

-- What a row of global_table has besides. seen tells what its stock rows were
-- when this coordinator last wrote them: who else writes them changes that. decided
-- is the status that it gave the transaction: another one is another program's.
-- outcome is how the transaction has ended should another program remove it.
CREATE TABLE IF NOT EXISTS qiao_global (
  transaction_id BIGINT       NOT NULL PRIMARY KEY,
  xid            VARCHAR(128) NOT NULL,
  revision       BIGINT       NOT NULL,
  due_at         BIGINT       NOT NULL, -- milliseconds since 1970; 0: never
  attempts       INT          NOT NULL,
  evidence       TEXT         NOT NULL,
  seen           BIGINT       NOT NULL,
  decided        SMALLINT     NOT NULL DEFAULT 0,
  outcome        SMALLINT     NOT NULL DEFAULT 0 -- 0: not known
);
CREATE INDEX IF NOT EXISTS idx_qiao_global_due_at ON qiao_global (due_at);

-- What a row of branch_table has besides. created orders the branches of a
-- transaction; branch_table.gmt_create is the same moment.
CREATE TABLE IF NOT EXISTS qiao_branch (
  branch_id     BIGINT       NOT NULL PRIMARY KEY,
  xid           VARCHAR(128) NOT NULL,
  created       BIGINT       NOT NULL, -- microseconds since 1970
  registered_at BIGINT       NOT NULL, -- milliseconds since 1970
  locked        BOOLEAN      NOT NULL,
  lock_key      TEXT         NOT NULL,
  request_key   VARCHAR(255) NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_qiao_branch_xid ON qiao_branch (xid);

-- How finished transactions ended, for as long as they answer with that.
CREATE TABLE IF NOT EXISTS qiao_tombstone (
  transaction_id BIGINT       NOT NULL PRIMARY KEY,
  xid            VARCHAR(128) NOT NULL,
  outcome        SMALLINT     NOT NULL,
  expires_at     BIGINT       NOT NULL -- milliseconds since 1970
);
CREATE INDEX IF NOT EXISTS idx_qiao_tombstone_expires_at ON qiao_tombstone (expires_at);

-- The latest id that was stored of each worker.
CREATE TABLE IF NOT EXISTS qiao_ids (
  worker  INT    NOT NULL PRIMARY KEY,
  last_id BIGINT NOT NULL
);

-- The coordinators that use these tables now: who holds a worker id, and until
-- when by the database's clock.
CREATE TABLE IF NOT EXISTS qiao_node (
  worker     INT          NOT NULL PRIMARY KEY,
  token      VARCHAR(64)  NOT NULL,
  address    VARCHAR(128) NOT NULL,
  expires_at BIGINT       NOT NULL -- milliseconds since 1970
);

-- What else is kept beside the transactions.
CREATE TABLE IF NOT EXISTS qiao_note (
  kind     VARCHAR(32)  NOT NULL,
  note_key VARCHAR(512) NOT NULL,
  value    TEXT         NOT NULL,
  PRIMARY KEY (kind, note_key)
);
