# frozen_string_literal: true

# The scenario of ../scenario.py for Ruby's mysql2. Reads what to do from standard input, writes what it saw.
#
# Statements with values are prepared on the server, others are text.
require 'bigdecimal'
require 'date'
require 'digest'
require 'json'
require 'mysql2'

WORK = JSON.parse($stdin.read)
SCENARIO = WORK['scenario']

def log_in_to(account)
  options = {
    host: account['host'], port: account['port'], username: account['user'], password: account['password'],
    database: account['database'], encoding: 'utf8mb4', connect_timeout: 20, database_timezone: :utc
  }
  options[:flags] = Mysql2::Client::MULTI_STATEMENTS if account['options'].include?('several')
  options[:flags] = Mysql2::Client::COMPRESS if account['options'].include?('compress')
  options[:local_infile] = true if account['options'].include?('infile')
  options.merge!(sslca: account['ca'], sslverify: true) unless account['ca'].empty?
  options.merge!(sslcert: account['cert'], sslkey: account['key']) unless account['cert'].empty?
  Mysql2::Client.new(options)
end

def shown(value)
  case value
  when nil then nil
  when BigDecimal then value.to_s('F')
  when Time then value.strftime('%Y-%m-%d %H:%M:%S.%6N')
  when String then value.dup.force_encoding('UTF-8').valid_encoding? ? value.dup.force_encoding('UTF-8') : "x:#{value.unpack1('H*')}"
  else value.to_s
  end
end

def shown_rows(rows)
  rows.map { |row| row.map { |value| shown(value) } }
end

def shown_error(error)
  [error.error_number, error.sql_state, error.message]
end

def rows(connection, sql, *values, **options)
  options = { as: :array }.merge(options)
  return connection.query(sql, **options) if values.empty?

  connection.prepare(sql).execute(*values, **options)
end

def ask_rows(connection, sql, *values)
  shown_rows(rows(connection, sql, *values))
end

def ask(connection, sql)
  ask_rows(connection, sql)[0][0]
end

# [last insert id, affected rows]
def executed(connection, sql, *values)
  if values.empty?
    connection.query(sql)
    return [connection.last_id, connection.affected_rows]
  end
  statement = connection.prepare(sql)
  statement.execute(*values)
  [statement.last_id, statement.affected_rows]
end

def refused(connection, sql)
  connection.query(sql)
  []
rescue Mysql2::Error => e
  shown_error(e)
end

def digest(content)
  "#{content.bytesize} #{Digest::SHA256.hexdigest(content)}"
end

def notes(connection, seen)
  notes = SCENARIO['notes']
  insert = 'INSERT INTO notes (note) VALUES (?)'
  done = notes[0, 2].map { |note| executed(connection, insert, note) }
  done << executed(connection, "#{insert}, (?), (?)", *notes[2, 3])
  seen['insert ids'] = done
  seen['LAST_INSERT_ID()'] = ask(connection, 'SELECT LAST_INSERT_ID()')
  statement = connection.prepare('SELECT note FROM notes WHERE id = ?')
  seen['notes by id'] = [3, 1, 99, 5].map { |id| statement.execute(id, as: :array).map { |row| shown(row[0]) }.first }
end

def kinds(connection, seen)
  kinds = SCENARIO['kinds']
  values = [
    Integer(kinds[0]), Integer(kinds[1]), Integer(kinds[2]), Integer(kinds[3]), Float(kinds[4]), BigDecimal(kinds[5]),
    Date.parse(kinds[6]), kinds[7], kinds[8], kinds[9], [SCENARIO['data']].pack('H*'), nil
  ]
  columns = SCENARIO['columns']
  executed(connection, "INSERT INTO kinds (id, #{columns}) VALUES (1#{', ?' * values.size})", *values)
  # What it makes of a negative time (a moment of the year 2000, or an error) says nothing: as text.
  result = rows(connection, "SELECT #{columns.sub(' span', ' CAST(span AS CHAR)')} FROM kinds WHERE id = ?", 1)
  seen['columns'] = result.fields
  seen['kinds'] = shown_rows(result)[0]
  seen['stored'] = ask(connection, SCENARIO['stored'])
end

def transactions(connection, seen)
  update = "UPDATE notes SET note = 'changed' WHERE id > 3"
  seen['updated'] = [executed(connection, update)[1], executed(connection, update)[1]]
  seen['info'] = connection.query_info_string
  %w[rollback commit].each do |last|
    connection.query('START TRANSACTION')
    executed(connection, 'INSERT INTO notes (note) VALUES (?)', last)
    connection.query(last)
    seen["after #{last}"] = ask(connection, 'SELECT COUNT(*) FROM notes')
  end
end

def big(connection, seen)
  content = File.binread(SCENARIO['big_file'])
  executed(connection, 'INSERT INTO files (id, content) VALUES (?, ?)', 1, content)
  seen['big'] = digest(rows(connection, 'SELECT content FROM files WHERE id = ?', 1).first[0])
end

def huge(connection, seen)
  unit, times = SCENARIO.values_at('huge_unit', 'huge_times')
  seen['huge sent'] = ask_rows(connection, 'SELECT SHA2(?, 256)', unit * times)[0][0]
  seen['huge received'] = digest(rows(connection, 'SELECT REPEAT(?, ?)', unit, times).first[0])
end

def databases(connection, seen)
  connection.query("USE #{SCENARIO['second_database']}")
  found = [ask(connection, 'SELECT DATABASE()'), ask(connection, 'SELECT mark FROM marks')]
  connection.select_db(SCENARIO['database'])
  seen['databases'] = [*found, ask(connection, 'SELECT DATABASE()')]
end

def streamed(connection)
  result = rows(connection, "SELECT seq FROM seq_1_to_#{SCENARIO['streamed']}", stream: true, cache_rows: false)
  result.sum { |row| row[0] }.to_s
end

def types(connection, seen)
  result = rows(connection, SCENARIO['select_types_as_text'], cast: false)
  seen['type columns'] = [result.fields, *(result.field_types if result.respond_to?(:field_types))]
  seen['types as text'] = shown_rows(result)
  seen['types prepared'] = prepared_types(connection)
end

# Row by row: the driver raises at a value that no class of Ruby's can hold.
def prepared_types(connection)
  (1..5).map do |id|
    ask_rows(connection, SCENARIO['select_types'].sub('id > ?', 'id = ?'), id)[0]
  rescue ArgumentError, Mysql2::Error => e
    e.message
  end
end

def results(connection, call)
  found = []
  begin
    result = connection.query(call, as: :array)
    loop do
      found << shown_rows(result) if result
      break unless connection.next_result

      result = connection.store_result
    end
  rescue Mysql2::Error => e
    found << shown_error(e)
  end
  found
end

def killed(target)
  victim = log_in_to(target)
  killer = log_in_to(target)
  killer.query("KILL #{ask(victim, 'SELECT CONNECTION_ID()')}")
  state = begin
    victim.query('SELECT 1')
    'still there'
  rescue Mysql2::Error
    'lost'
  end
  another = log_in_to(target)
  [state, ask(another, "SELECT 'again'")]
ensure
  # Left to the garbage collector, a killed one closes a file descriptor that is another connection's by then.
  [victim, killer, another].compact.each(&:close)
end

def several(job)
  connection = log_in_to(job['target'])
  found = SCENARIO.values_at('several', 'several_wrong').map { |statement| results(connection, statement) }
  { 'results' => found[0], 'wrong' => found[1], 'after' => ask(connection, "SELECT 'after'") }
end

def infile(job)
  connection = log_in_to(job['target'])
  connection.query(SCENARIO['loaded_table'])
  {
    'affected' => executed(connection, SCENARIO['load'].sub('{}', job['file']))[1],
    'missing' => refused(connection, SCENARIO['load'].sub('{}', "#{job['file']}.missing")),
    'loaded' => ask_rows(connection, SCENARIO['loaded'])[0],
    'after' => ask(connection, "SELECT 'after'")
  }
end

def compress(job)
  connection = log_in_to(job['target'])
  { 'sent' => ask(connection, "SELECT SHA2('#{'y' * 3_000_000}', 256)"), 'received' => digest(ask(connection, "SELECT REPEAT('z', 3000000)")) }
end

def log_in(job)
  connection = log_in_to(job['target'])
  { 'answer' => ask(connection, "SELECT 'in'") }
rescue Mysql2::Error => e
  { 'error' => shown_error(e) }
ensure
  connection&.close
end

def play(job)
  seen = {}
  connection = log_in_to(job['target'])
  seen['session'] = ask_rows(connection, 'SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()')[0]
  seen['own id'] = ask(connection, 'SELECT CONNECTION_ID()') == connection.thread_id.to_s
  SCENARIO['tables'].each { |sql| connection.query(sql) }
  notes(connection, seen)
  kinds(connection, seen)
  transactions(connection, seen)
  seen['duplicate'] = refused(connection, "INSERT INTO notes VALUES (1, 'again')")
  seen['syntax'] = refused(connection, 'SELEKT 1')
  seen['no table'] = refused(connection, 'SELECT * FROM missing')
  ask(connection, "SELECT CAST('12abc' AS SIGNED)")
  seen['warnings'] = ask_rows(connection, 'SHOW WARNINGS')
  big(connection, seen)
  databases(connection, seen)
  seen['streamed'] = streamed(connection)
  types(connection, seen)
  seen['results'] = results(connection, 'CALL several(7)')
  seen['halfway'] = results(connection, 'CALL halfway()')
  connection.query('CALL doubled(21, @twice)')
  seen['out'] = ask(connection, 'SELECT @twice')
  huge(connection, seen) if job['huge']
  seen['ping'] = connection.ping
  connection.close
  seen['killed'] = killed(job['target'])
  seen
end

seen = WORK['jobs'].map do |job|
  GC.start # what it closes now is not yet the file descriptor of another connection
  send(job['action'].sub(' ', '_'), job)
rescue StandardError => e
  { 'failed' => e.full_message(highlight: false) }
end
puts JSON.generate(seen)
