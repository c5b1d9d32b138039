<?php
// Cursors of PHP's mysqlnd, with other statements in between, in clear and compressed: port, user, password, database.
// Prints what it reads.

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
[, $port, $user, $password, $database] = $argv;
foreach ([0, MYSQLI_CLIENT_COMPRESS] as $flags) {
    $connection = mysqli_init();
    $connection->real_connect('127.0.0.1', $user, $password, $database, (int)$port, null, $flags);
    $statement = $connection->prepare('SELECT id, name, day, at, data FROM items WHERE id > ? ORDER BY id');
    $statement->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
    foreach ([0, 50, 57] as $least) {
        $connection->begin_transaction();
        $statement->bind_param('i', $least);
        $statement->execute();
        $statement->bind_result($id, $name, $day, $at, $data);
        while ($statement->fetch()) {
            echo json_encode([$id, $name, $day, $at, bin2hex($data)]), "\n";
            if ($id === 55) {
                echo $connection->query('SELECT COUNT(*) FROM items')->fetch_row()[0], "\n";
                $connection->commit();
            }
        }
        $connection->rollback();
        $statement->reset();
    }
    $connection->close();
}
