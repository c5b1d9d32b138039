<?php
// PDO for ./client.php.
declare(strict_types=1);

final class Connection
{
    private PDO $inner;

    public function __construct(array $account)
    {
        $options = [PDO::ATTR_EMULATE_PREPARES => false, PDO::ATTR_TIMEOUT => 20];
        $options[PDO::MYSQL_ATTR_LOCAL_INFILE] = in_array('infile', $account['options'], true);
        $options[PDO::MYSQL_ATTR_COMPRESS] = in_array('compress', $account['options'], true);
        $options[PDO::MYSQL_ATTR_MULTI_STATEMENTS] = in_array('several', $account['options'], true);
        if ($account['ca'] !== '') {
            $options[PDO::MYSQL_ATTR_SSL_CA] = $account['ca'];
            $options[PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT] = true;
        }
        if ($account['cert'] !== '') {
            $options[PDO::MYSQL_ATTR_SSL_CERT] = $account['cert'];
            $options[PDO::MYSQL_ATTR_SSL_KEY] = $account['key'];
        }
        $name = "mysql:host={$account['host']};port={$account['port']};dbname={$account['database']};charset=utf8mb4";
        $this->inner = @new PDO($name, $account['user'], $account['password'], $options);
    }

    public static function shownError(Exception $error): array
    {
        if (!$error instanceof PDOException) {
            return [0, null, $error->getMessage()];
        }
        if ($error->errorInfo !== null) {
            return [$error->errorInfo[1], $error->errorInfo[0], preg_replace('/^SQLSTATE\[\w+\] \[\d+\] /', '', $error->errorInfo[2])];
        }
        preg_match('/^SQLSTATE\[(\w+)\] \[(\d+)\] (.*)$/s', $error->getMessage(), $parts);
        return [(int) $parts[2], $parts[1], $parts[3]];
    }

    private function executed(string $statement, array $values): PDOStatement
    {
        if (!$values) {
            return $this->inner->query($statement);
        }
        $prepared = $this->inner->prepare($statement);
        foreach ($values as $n => $value) {
            $type = is_int($value) ? PDO::PARAM_INT : ($value === null ? PDO::PARAM_NULL : PDO::PARAM_STR);
            $prepared->bindValue($n + 1, $value, $type);
        }
        $prepared->execute();
        return $prepared;
    }

    public function rows(string $statement, array $values = []): array
    {
        return $this->executed($statement, $values)->fetchAll(PDO::FETCH_NUM);
    }

    /** The number of rows affected. */
    public function run(string $statement, array $values = []): int
    {
        return $this->executed($statement, $values)->rowCount();
    }

    public function insert(string $statement, array $values): array
    {
        $affected = $this->run($statement, $values);
        return [(int) $this->inner->lastInsertId(), $affected];
    }

    public function executedOften(string $statement, array $values): array
    {
        $prepared = $this->inner->prepare($statement);
        $found = [];
        foreach ($values as $value) {
            $prepared->execute([$value]);
            $found[] = $prepared->fetchAll(PDO::FETCH_NUM)[0][0] ?? null;
        }
        return $found;
    }

    public function columns(string $statement): array
    {
        $result = $this->inner->query($statement);
        $columns = array_map($result->getColumnMeta(...), range(0, $result->columnCount() - 1));
        $result->closeCursor();
        return $columns;
    }

    public function insertBig(string $content): void
    {
        $prepared = $this->inner->prepare('INSERT INTO files (id, content) VALUES (1, ?)');
        $prepared->bindValue(1, $content, PDO::PARAM_LOB);
        $prepared->execute();
    }

    public function streamedTotal(string $statement): int
    {
        $this->inner->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
        $total = 0;
        foreach ($this->inner->query($statement) as $row) {
            $total += (int) $row['seq'];
        }
        $this->inner->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
        return $total;
    }

    public function results(string $call): Generator
    {
        $result = $this->inner->query($call);
        do {
            if ($result->columnCount()) {
                yield $result->fetchAll(PDO::FETCH_NUM);
            }
        } while ($result->nextRowset());
    }

    public function changeDatabase(string $database): void
    {
        $this->inner->exec("USE $database");
    }

    public function begin(): void
    {
        $this->inner->beginTransaction();
    }

    public function commit(): void
    {
        $this->inner->commit();
    }

    public function rollback(): void
    {
        $this->inner->rollBack();
    }

    /** It has no ping; this is COM_STATISTICS. */
    public function ping(): bool
    {
        return str_starts_with($this->inner->getAttribute(PDO::ATTR_SERVER_INFO), 'Uptime: ');
    }

    /** What only this extension has. */
    public function own(array $job, array &$seen): void
    {
        $seen['in transaction'] = [$this->inner->inTransaction(), $this->inner->beginTransaction(), $this->inner->inTransaction()];
        $this->inner->exec('CREATE TABLE IF NOT EXISTS notes (id INT)'); // ends it, and PDO sees that
        $seen['in transaction'][] = $this->inner->inTransaction();
    }
}
