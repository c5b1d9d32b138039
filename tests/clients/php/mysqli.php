<?php
// mysqli for ./client.php.
declare(strict_types=1);

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

final class Connection
{
    private mysqli $inner;

    public function __construct(array $account)
    {
        $this->inner = mysqli_init();
        $this->inner->options(MYSQLI_OPT_CONNECT_TIMEOUT, 20);
        $this->inner->options(MYSQLI_OPT_LOCAL_INFILE, in_array('infile', $account['options'], true) ? 1 : 0);
        $flags = in_array('compress', $account['options'], true) ? MYSQLI_CLIENT_COMPRESS : 0;
        if ($account['ca'] !== '') {
            $this->inner->ssl_set($account['key'] ?: null, $account['cert'] ?: null, $account['ca'], null, null);
            $flags |= MYSQLI_CLIENT_SSL;
        }
        $login = [$account['host'], $account['user'], $account['password'], $account['database'], $account['port']];
        @$this->inner->real_connect(...[...$login, null, $flags]);
        $this->inner->set_charset('utf8mb4');
    }

    public static function shownError(Exception $error): array
    {
        return $error instanceof mysqli_sql_exception
            ? [$error->getCode(), $error->getSqlState(), $error->getMessage()]
            : [0, null, $error->getMessage()];
    }

    private function executed(string $statement, array $values): mysqli_stmt
    {
        $prepared = $this->inner->prepare($statement);
        $types = array_map(fn ($value): string => is_int($value) ? 'i' : (is_float($value) ? 'd' : 's'), $values);
        $prepared->bind_param(implode('', $types), ...$values);
        $prepared->execute();
        return $prepared;
    }

    public function rows(string $statement, array $values = []): array
    {
        $result = $values ? $this->executed($statement, $values)->get_result() : $this->inner->query($statement);
        return $result->fetch_all(MYSQLI_NUM);
    }

    /** The number of rows affected. */
    public function run(string $statement, array $values = []): int
    {
        if ($values) {
            return (int) $this->executed($statement, $values)->affected_rows;
        }
        $this->inner->query($statement);
        return (int) $this->inner->affected_rows;
    }

    public function insert(string $statement, array $values): array
    {
        $done = $this->executed($statement, $values);
        return [(int) $done->insert_id, (int) $done->affected_rows];
    }

    public function executedOften(string $statement, array $values): array
    {
        $prepared = $this->inner->prepare($statement);
        $found = [];
        foreach ($values as $value) {
            $prepared->execute([$value]);
            $found[] = $prepared->get_result()->fetch_row()[0] ?? null;
        }
        return $found;
    }

    public function columns(string $statement): array
    {
        return array_map(fn (object $field): array => (array) $field, $this->inner->query($statement)->fetch_fields());
    }

    /** In pieces, as COM_STMT_SEND_LONG_DATA. */
    public function insertBig(string $content): void
    {
        $prepared = $this->inner->prepare('INSERT INTO files (id, content) VALUES (1, ?)');
        $nothing = null;
        $prepared->bind_param('b', $nothing);
        foreach (str_split($content, 300_000) as $piece) {
            $prepared->send_long_data(0, $piece);
        }
        $prepared->execute();
    }

    public function streamedTotal(string $statement): int
    {
        $total = 0;
        foreach ($this->inner->query($statement, MYSQLI_USE_RESULT) as $row) {
            $total += (int) $row['seq'];
        }
        return $total;
    }

    public function results(string $call): Generator
    {
        $this->inner->multi_query($call);
        do {
            $result = $this->inner->store_result();
            if ($result) {
                yield $result->fetch_all(MYSQLI_NUM);
            }
        } while ($this->inner->more_results() && $this->inner->next_result());
    }

    public function changeDatabase(string $database): void
    {
        $this->inner->select_db($database);
    }

    public function begin(): void
    {
        $this->inner->begin_transaction();
    }

    public function commit(): void
    {
        $this->inner->commit();
    }

    public function rollback(): void
    {
        $this->inner->rollback();
    }

    public function ping(): bool
    {
        return str_starts_with($this->inner->stat(), 'Uptime: ') && $this->inner->ping();
    }

    /** What only this extension has. */
    public function own(array $job, array &$seen): void
    {
        $seen['own id'] = ask($this, 'SELECT CONNECTION_ID()') === (string) $this->inner->thread_id;
        $this->inner->query("UPDATE notes SET note = 'changed' WHERE id IN (4, 5)");
        $seen['info'] = $this->inner->info;
        $prepared = $this->executed('CALL several(?)', [7]);
        $seen['results prepared'] = [];
        do {
            $result = $prepared->get_result();
            if ($result) {
                $seen['results prepared'][] = shownRows($result->fetch_all(MYSQLI_NUM));
            }
        } while ($prepared->more_results() && $prepared->next_result());
        $prepared->close();
        $found = [];
        foreach ([$job['other'], $job['target']] as $account) {
            $this->inner->change_user($account['user'], $account['password'], $account['database']);
            $found[] = ask($this, 'SELECT CURRENT_USER()');
        }
        $seen['changed user'] = $found;
    }
}
