<?php
// The scenario of ../scenario.py for PHP's mysqlnd. Reads what to do from standard input, writes what it saw.
//
// `mode` is the extension: mysqli or pdo. Statements with values are prepared on the server, others are text.
declare(strict_types=1);

set_error_handler(function (int $number, string $text, string $file, int $line): bool {
    if (error_reporting() & $number) {
        throw new ErrorException($text, 0, $number, $file, $line);
    }
    return true;
});

$work = json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR);
$scenario = $work['scenario'];
require __DIR__ . "/{$work['mode']}.php";

function shown(mixed $value): ?string
{
    return match (true) {
        $value === null => null,
        is_float($value) => json_encode($value),
        is_string($value) && !mb_valid($value) => 'x:' . bin2hex($value),
        default => (string) $value,
    };
}

function mb_valid(string $text): bool
{
    return preg_match('//u', $text) === 1;
}

function shownRows(array $rows): array
{
    return array_map(fn (array $row): array => array_map(shown(...), $row), $rows);
}

function askRow(Connection $connection, string $statement, array $values = []): array
{
    return shownRows($connection->rows($statement, $values))[0];
}

function ask(Connection $connection, string $statement, array $values = []): ?string
{
    return askRow($connection, $statement, $values)[0];
}

function refused(Connection $connection, string $statement): array
{
    try {
        $connection->run($statement);
    } catch (Exception $error) {
        return Connection::shownError($error);
    }
    return [];
}

function digest(string $content): string
{
    return strlen($content) . ' ' . hash('sha256', $content);
}

function logIn(array $job): array
{
    try {
        $connection = new Connection($job['target']);
    } catch (Exception $error) {
        [$number, , $text] = Connection::shownError($error);
        return ['error' => [$number, null, $text]]; // of a login the SQLSTATE is always HY000
    }
    return ['answer' => ask($connection, "SELECT 'in'")];
}

function notes(Connection $connection, array $notes, array &$seen): void
{
    $done = [];
    foreach (array_slice($notes, 0, 2) as $note) {
        $done[] = $connection->insert('INSERT INTO notes (note) VALUES (?)', [$note]);
    }
    $done[] = $connection->insert('INSERT INTO notes (note) VALUES (?), (?), (?)', array_slice($notes, 2));
    $seen['insert ids'] = $done;
    $seen['LAST_INSERT_ID()'] = ask($connection, 'SELECT LAST_INSERT_ID()');
    $seen['notes by id'] = $connection->executedOften('SELECT note FROM notes WHERE id = ?', [3, 1, 99, 5]);
}

function kinds(Connection $connection, array $scenario, array &$seen): void
{
    $kinds = $scenario['kinds'];
    $values = [(int) $kinds[0], (int) $kinds[1], PHP_INT_MIN, $kinds[3], (float) $kinds[4], ...array_slice($kinds, 5, 5)];
    array_push($values, hex2bin($scenario['data']), null);
    $holes = str_repeat(', ?', count($values));
    $connection->run("INSERT INTO kinds (id, {$scenario['columns']}) VALUES (1$holes)", $values);
    $seen['kinds'] = askRow($connection, "SELECT {$scenario['columns']} FROM kinds WHERE id = ?", [1]);
    $seen['columns'] = $connection->columns("SELECT {$scenario['columns']} FROM kinds WHERE id = 1");
    $seen['stored'] = ask($connection, $scenario['stored']);
}

function transactions(Connection $connection, array &$seen): void
{
    $update = "UPDATE notes SET note = 'changed' WHERE id > 3";
    $seen['updated'] = [$connection->run($update), $connection->run($update)];
    foreach (['rollback', 'commit'] as $end) {
        $connection->begin();
        $connection->run('INSERT INTO notes (note) VALUES (?)', [$end]);
        $connection->$end();
        $seen["after $end"] = ask($connection, 'SELECT COUNT(*) FROM notes');
    }
}

function results(Connection $connection, string $call): array
{
    $found = [];
    try {
        foreach ($connection->results($call) as $rows) {
            $found[] = shownRows($rows);
        }
    } catch (Exception $error) {
        $found[] = Connection::shownError($error);
    }
    return $found;
}

function killed(array $target): array
{
    $victim = new Connection($target);
    $killer = new Connection($target);
    $killer->run('KILL ' . ask($victim, 'SELECT CONNECTION_ID()'));
    $state = 'still there';
    try {
        @$victim->rows('SELECT 1');
    } catch (Exception) {
        $state = 'lost';
    }
    return [$state, ask(new Connection($target), "SELECT 'again'")];
}

function play(array $job): array
{
    global $scenario;
    $seen = [];
    $connection = new Connection($job['target']);
    $seen['session'] = askRow($connection, 'SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()');
    array_walk($scenario['tables'], fn (string $statement) => $connection->run($statement));
    notes($connection, $scenario['notes'], $seen);
    kinds($connection, $scenario, $seen);
    transactions($connection, $seen);
    $seen['duplicate'] = refused($connection, "INSERT INTO notes VALUES (1, 'again')");
    $seen['syntax'] = refused($connection, 'SELEKT 1');
    $seen['no table'] = refused($connection, 'SELECT * FROM missing');
    ask($connection, "SELECT CAST('12abc' AS SIGNED)");
    $seen['warnings'] = shownRows($connection->rows('SHOW WARNINGS'));
    $connection->insertBig(file_get_contents($scenario['big_file']));
    $seen['big'] = digest($connection->rows('SELECT content FROM files WHERE id = ?', [1])[0][0]);
    $connection->run("USE {$scenario['second_database']}");
    $found = [ask($connection, 'SELECT DATABASE()'), ask($connection, 'SELECT mark FROM marks')];
    $connection->changeDatabase($scenario['database']);
    $seen['databases'] = [...$found, ask($connection, 'SELECT DATABASE()')];
    $seen['streamed'] = (string) $connection->streamedTotal("SELECT seq FROM seq_1_to_{$scenario['streamed']}");
    $seen['types as text'] = shownRows($connection->rows($scenario['select_types_as_text']));
    $seen['types prepared'] = shownRows($connection->rows($scenario['select_types'], [0]));
    $seen['type columns'] = $connection->columns($scenario['select_types_as_text']);
    $seen['results'] = results($connection, 'CALL several(7)');
    $seen['halfway'] = results($connection, 'CALL halfway()');
    $connection->run('CALL doubled(?, @twice)', [21]);
    $seen['out'] = ask($connection, 'SELECT @twice');
    if ($job['huge']) {
        $content = str_repeat($scenario['huge_unit'], $scenario['huge_times']);
        $seen['huge sent'] = ask($connection, 'SELECT SHA2(?, 256)', [$content]);
        $repeat = [$scenario['huge_unit'], $scenario['huge_times']];
        $seen['huge received'] = digest($connection->rows('SELECT REPEAT(?, ?)', $repeat)[0][0]);
    }
    $seen['ping'] = $connection->ping();
    $connection->own($job, $seen);
    $seen['killed'] = killed($job['target']);
    return $seen;
}

function several(array $job): array
{
    global $scenario;
    $connection = new Connection($job['target']);
    return [
        'results' => results($connection, $scenario['several']),
        'wrong' => results($connection, $scenario['several_wrong']),
        'after' => ask($connection, "SELECT 'after'"),
    ];
}

function infile(array $job): array
{
    global $scenario;
    $connection = new Connection($job['target']);
    $connection->run($scenario['loaded_table']);
    return [
        'affected' => $connection->run(str_replace('{}', $job['file'], $scenario['load'])),
        'missing' => @refused($connection, str_replace('{}', "{$job['file']}.missing", $scenario['load'])),
        'loaded' => askRow($connection, $scenario['loaded']),
        'after' => ask($connection, "SELECT 'after'"),
    ];
}

function compress(array $job): array
{
    $connection = new Connection($job['target']);
    $long = str_repeat('y', 3_000_000);
    return [
        'sent' => ask($connection, "SELECT SHA2('$long', 256)"),
        'received' => digest(ask($connection, "SELECT REPEAT('z', 3000000)")),
    ];
}

const ACTIONS = [
    'play' => 'play', 'log in' => 'logIn', 'several' => 'several', 'infile' => 'infile', 'compress' => 'compress',
];
$seen = [];
foreach ($work['jobs'] as $job) {
    try {
        $seen[] = ACTIONS[$job['action']]($job);
    } catch (Throwable $error) {
        $seen[] = ['failed' => (string) $error];
    }
}
echo json_encode($seen, JSON_THROW_ON_ERROR);
