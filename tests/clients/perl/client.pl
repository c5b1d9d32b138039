#!/usr/bin/perl
# The scenario of ../scenario.py for DBI's drivers. Reads what to do from standard input, writes what it saw.
#
# `mode` is the driver: mysql or MariaDB. Statements with values are prepared on the server, others are text.
use strict;
use warnings;

use DBI qw(:sql_types);
use Digest::SHA qw(sha256_hex);
use Encode qw(decode FB_CROAK LEAVE_SRC);
use JSON::PP;

binmode STDIN;
binmode STDOUT;
my $work = decode_json(do { local $/; <STDIN> });
my $mode = $work->{mode};
my $prefix = lc $mode;
my $scenario = $work->{scenario};

sub log_in_to {
    my ($account) = @_;
    my $name = "DBI:$mode:database=$account->{database};host=$account->{host};port=$account->{port}";
    if ($account->{ca} ne '') {
        # Debian's DBD::mysql is made with a library with which it does not dare to insist on TLS, or to verify.
        my $how = $mode eq 'mysql' ? 'mysql_ssl_optional=1' : 'mariadb_ssl_verify_server_cert=1';
        $name .= ";${prefix}_ssl=1;${prefix}_ssl_ca_file=$account->{ca};$how";
    }
    if ($account->{cert} ne '') {
        $name .= ";${prefix}_ssl_client_cert=$account->{cert};${prefix}_ssl_client_key=$account->{key}";
    }
    my %has = map { $_ => 1 } @{$account->{options}};
    $name .= ";${prefix}_multi_statements=1" if $has{several};
    $name .= ";${prefix}_local_infile=1" if $has{infile};
    $name .= ";${prefix}_compression=1" if $has{compress};
    my %options = (RaiseError => 1, PrintError => 0, AutoCommit => 1);
    $options{mysql_enable_utf8mb4} = 1 if $mode eq 'mysql';
    return DBI->connect($name, $account->{user}, $account->{password}, \%options);
}

sub shown {
    my ($value) = @_;
    return $value if !defined $value;
    return "$value" if utf8::is_utf8($value);
    my $text = eval { decode('UTF-8', "$value", FB_CROAK | LEAVE_SRC) };
    return defined $text ? $text : 'x:' . unpack('H*', $value);
}

sub shown_rows { return [map { [map { shown($_) } @$_] } @{$_[0]}]; }

sub shown_error { return [int($DBI::err), $DBI::state, shown($DBI::errstr)]; }

# A statement that was executed: prepared on the server if it has values.
sub executed {
    my ($connection, $sql, @values) = @_;
    my $statement = $connection->prepare($sql, {"${prefix}_server_prepare" => @values ? 1 : 0});
    for my $n (0 .. $#values) {
        my $value = $values[$n];
        if (ref $value) {
            $statement->bind_param($n + 1, $$value, SQL_BLOB);
        } else {
            $statement->bind_param($n + 1, $value);
        }
    }
    $statement->execute;
    return $statement;
}

sub rows { return executed(@_)->fetchall_arrayref; }

sub ask_rows { return shown_rows(rows(@_)); }

sub ask { return ask_rows(@_)->[0][0]; }

sub affected { return int(executed(@_)->rows); }

sub refused {
    my ($connection, $sql) = @_;
    return eval { executed($connection, $sql); [] } || shown_error();
}

sub columns {
    my ($statement) = @_;
    return [map { my $kind = $_; [map { shown($_) } @{$statement->{$kind}}] } qw(NAME TYPE PRECISION SCALE NULLABLE)];
}

sub digest { return length($_[0]) . ' ' . sha256_hex($_[0]); }

sub inserted {
    my ($connection, $sql, @values) = @_;
    my $statement = executed($connection, $sql, @values);
    return [int($statement->{"${prefix}_insertid"}), int($statement->rows)];
}

sub notes {
    my ($connection, $seen) = @_;
    my @notes = @{$scenario->{notes}};
    my $insert = 'INSERT INTO notes (note) VALUES (?)';
    my @done = map { inserted($connection, $insert, $_) } @notes[0, 1];
    push @done, inserted($connection, "$insert, (?), (?)", @notes[2 .. 4]);
    $seen->{'insert ids'} = \@done;
    $seen->{'LAST_INSERT_ID()'} = ask($connection, 'SELECT LAST_INSERT_ID()');
    my $statement = $connection->prepare('SELECT note FROM notes WHERE id = ?', {"${prefix}_server_prepare" => 1});
    for my $id (3, 1, 99, 5) {
        $statement->execute($id);
        my $rows = $statement->fetchall_arrayref;
        push @{$seen->{'notes by id'}}, shown(@$rows ? $rows->[0][0] : undef);
    }
    return;
}

sub kinds {
    my ($connection, $seen) = @_;
    my $data = pack 'H*', $scenario->{data};
    my @values = (@{$scenario->{kinds}}[0 .. 9], \$data, undef);
    my $holes = ', ?' x @values;
    executed($connection, "INSERT INTO kinds (id, $scenario->{columns}) VALUES (1$holes)", @values);
    my $statement = executed($connection, "SELECT $scenario->{columns} FROM kinds WHERE id = ?", 1);
    $seen->{columns} = columns($statement);
    $seen->{kinds} = shown_rows($statement->fetchall_arrayref)->[0];
    $seen->{stored} = ask($connection, $scenario->{stored});
    return;
}

sub transactions {
    my ($connection, $seen) = @_;
    my $update = "UPDATE notes SET note = 'changed' WHERE id > 3";
    $seen->{updated} = [affected($connection, $update), affected($connection, $update)];
    $seen->{info} = shown($connection->{"${prefix}_info"});
    for my $end ('rollback', 'commit') {
        $connection->begin_work;
        executed($connection, 'INSERT INTO notes (note) VALUES (?)', $end);
        $connection->$end;
        $seen->{"after $end"} = ask($connection, 'SELECT COUNT(*) FROM notes');
    }
    return;
}

sub big {
    my ($connection, $seen) = @_;
    open my $file, '<:raw', $scenario->{big_file} or die "$scenario->{big_file}: $!";
    my $content = do { local $/; <$file> };
    executed($connection, 'INSERT INTO files (id, content) VALUES (?, ?)', 1, \$content);
    $seen->{big} = digest(rows($connection, 'SELECT content FROM files WHERE id = ?', 1)->[0][0]);
    return;
}

sub huge {
    my ($connection, $seen) = @_;
    $seen->{'huge sent'} = ask($connection, 'SELECT SHA2(?, 256)', $scenario->{huge_unit} x $scenario->{huge_times});
    my $repeat = "SELECT REPEAT('$scenario->{huge_unit}', $scenario->{huge_times})";
    $seen->{'huge received'} = digest(rows($connection, $repeat)->[0][0]);
    return;
}

sub types {
    my ($connection, $seen) = @_;
    my $statement = executed($connection, $scenario->{select_types_as_text});
    $seen->{'type columns'} = columns($statement);
    $seen->{'types as text'} = shown_rows($statement->fetchall_arrayref);
    $seen->{'types prepared'} = ask_rows($connection, $scenario->{select_types}, 0);
    return;
}

sub results {
    my ($connection, $call) = @_;
    my @found;
    eval {
        my $statement = executed($connection, $call);
        do {
            push @found, shown_rows($statement->fetchall_arrayref) if $statement->{NUM_OF_FIELDS};
        } while ($statement->more_results);
        1;
    } or push @found, shown_error();
    return \@found;
}

sub killed {
    my ($target) = @_;
    my ($victim, $killer) = (log_in_to($target), log_in_to($target));
    executed($killer, 'KILL ' . ask($victim, 'SELECT CONNECTION_ID()'));
    my $state = eval { rows($victim, 'SELECT 1'); 'still there' } || 'lost';
    return [$state, ask(log_in_to($target), "SELECT 'again'")];
}

sub several {
    my ($job) = @_;
    my $connection = log_in_to($job->{target});
    my ($results, $wrong) = map { results($connection, $_) } @{$scenario}{qw(several several_wrong)};
    return {results => $results, wrong => $wrong, after => ask($connection, "SELECT 'after'")};
}

sub infile {
    my ($job) = @_;
    my $connection = log_in_to($job->{target});
    executed($connection, $scenario->{loaded_table});
    my ($load, $missing) = map { $scenario->{load} =~ s/\{\}/$_/r } ($job->{file}, "$job->{file}.missing");
    return {
        affected => affected($connection, $load),
        missing => refused($connection, $missing),
        loaded => ask_rows($connection, $scenario->{loaded})->[0],
        after => ask($connection, "SELECT 'after'"),
    };
}

sub compress {
    my ($job) = @_;
    my $connection = log_in_to($job->{target});
    my $sent = ask($connection, "SELECT SHA2('" . 'y' x 3_000_000 . "', 256)");
    return {sent => $sent, received => digest(ask($connection, "SELECT REPEAT('z', 3000000)"))};
}

sub log_in {
    my ($job) = @_;
    my $connection = eval { log_in_to($job->{target}) };
    return {error => shown_error()} if !$connection;
    return {answer => ask($connection, "SELECT 'in'")};
}

sub play {
    my ($job) = @_;
    my $seen = {};
    my $connection = log_in_to($job->{target});
    $seen->{session} = ask_rows($connection, 'SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()')->[0];
    my $own = ask($connection, 'SELECT CONNECTION_ID()') eq $connection->{"${prefix}_thread_id"};
    $seen->{'own id'} = $own ? JSON::PP::true : JSON::PP::false;
    executed($connection, $_) for @{$scenario->{tables}};
    notes($connection, $seen);
    kinds($connection, $seen);
    transactions($connection, $seen);
    $seen->{duplicate} = refused($connection, "INSERT INTO notes VALUES (1, 'again')");
    $seen->{syntax} = refused($connection, 'SELEKT 1');
    $seen->{'no table'} = refused($connection, 'SELECT * FROM missing');
    ask($connection, "SELECT CAST('12abc' AS SIGNED)");
    $seen->{warnings} = ask_rows($connection, 'SHOW WARNINGS');
    big($connection, $seen);
    executed($connection, "USE $scenario->{second_database}");
    my @found = (ask($connection, 'SELECT DATABASE()'), ask($connection, 'SELECT mark FROM marks'));
    executed($connection, "USE $scenario->{database}");
    $seen->{databases} = [@found, ask($connection, 'SELECT DATABASE()')];
    # DBD::MariaDB is out of step with the server after it has read like this.
    my %streaming = $mode eq 'mysql' ? (mysql_use_result => 1) : ();
    my $streaming = $connection->prepare("SELECT seq FROM seq_1_to_$scenario->{streamed}", \%streaming);
    $streaming->execute;
    my $total = 0;
    while (my ($number) = $streaming->fetchrow_array) { $total += $number; }
    $seen->{streamed} = "$total";
    types($connection, $seen);
    $seen->{results} = results($connection, 'CALL several(7)');
    $seen->{halfway} = results($connection, 'CALL halfway()');
    executed($connection, 'CALL doubled(21, @twice)');
    $seen->{out} = ask($connection, 'SELECT @twice');
    huge($connection, $seen) if $job->{huge};
    $seen->{ping} = $connection->ping ? JSON::PP::true : JSON::PP::false;
    $connection->disconnect;
    $seen->{killed} = killed($job->{target});
    return $seen;
}

my %actions = (play => \&play, 'log in' => \&log_in, several => \&several, infile => \&infile, compress => \&compress);
my @seen;
for my $job (@{$work->{jobs}}) {
    push @seen, eval { $actions{$job->{action}}->($job) } || {failed => shown("$@")};
}
print encode_json(\@seen);
