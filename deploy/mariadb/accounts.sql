-- On every primary: the application's accounts, and the one with which Turnout itself logs in.
CREATE USER app@'%' IDENTIFIED BY 'app-secret';
GRANT ALL PRIVILEGES ON shop.* TO app@'%';
CREATE USER ops@'%' IDENTIFIED BY 'ops-secret';
GRANT ALL PRIVILEGES ON shop.* TO ops@'%';
CREATE USER turnout@'%' IDENTIFIED BY 'turnout-secret';
GRANT SELECT, SHOW VIEW, TRIGGER, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE, REPLICA MONITOR ON *.* TO turnout@'%';
GRANT SELECT, INSERT, UPDATE, CREATE ON turnout.* TO turnout@'%';
