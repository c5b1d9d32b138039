-- On a primary that has replicas: the account with which they log in.
CREATE USER replication@'%' IDENTIFIED BY 'replication-secret';
GRANT REPLICATION SLAVE ON *.* TO replication@'%';
