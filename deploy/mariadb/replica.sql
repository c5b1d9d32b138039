-- On a replica. Replication starts by itself when the server is started the next time, which follows at once.
SET GLOBAL gtid_slave_pos = '';
CHANGE MASTER TO MASTER_HOST = 'main', MASTER_PORT = 3306, MASTER_USER = 'replication',
  MASTER_PASSWORD = 'replication-secret', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 2;
