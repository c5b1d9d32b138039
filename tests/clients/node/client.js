// The scenario of ../scenario.py for node's drivers. Reads what to do from standard input, writes what it saw.
//
// `mode` is a driver (a file beside this one) and the method that statements go through.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')

const { mode, jobs, scenario } = JSON.parse(fs.readFileSync(0, 'utf8'))
const [name, method] = mode.split(' ')
const driver = require(`./${name}.js`)(method)

function shown (value) {
  if (value === null) return null
  if (Buffer.isBuffer(value)) return `x:${value.toString('hex')}`
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

const shownRows = rows => rows.map(row => row.map(shown))

function shownError (error) {
  if (error.errno === undefined) return [0, null, error.message]
  return [error.errno, error.sqlState ?? null, error.sqlMessage ?? error.message]
}

const sha256 = content => crypto.createHash('sha256').update(content).digest('hex')

const askRows = async (connection, statement, values) => shownRows((await connection.select(statement, values))[0])
const askRow = async (connection, statement) => (await askRows(connection, statement))[0]
const ask = async (connection, statement) => (await askRow(connection, statement))[0]

async function refused (connection, statement) {
  try {
    await connection.run(statement)
  } catch (error) {
    return shownError(error)
  }
  return []
}

async function logIn ({ target }) {
  let connection
  try {
    connection = await driver.connect(target)
  } catch (error) {
    return { error: shownError(error) }
  }
  const answer = await ask(connection, "SELECT 'in'")
  await connection.end()
  return { answer }
}

async function notes (connection, seen) {
  const insert = 'INSERT INTO notes (note) VALUES (?)'
  const done = []
  for (const note of scenario.notes.slice(0, 2)) done.push(await connection.run(insert, [note]))
  done.push(await connection.run('INSERT INTO notes (note) VALUES (?), (?), (?)', scenario.notes.slice(2)))
  seen['insert ids'] = done.map(result => [result.insertId, result.affectedRows])
  seen['LAST_INSERT_ID()'] = await ask(connection, 'SELECT LAST_INSERT_ID()')
  seen['notes by id'] = []
  for (const id of [3, 1, 99, 5]) {
    const rows = await askRows(connection, 'SELECT note FROM notes WHERE id = ?', [id])
    seen['notes by id'].push(rows.length ? rows[0][0] : null)
  }
}

async function kinds (connection, seen) {
  const [tiny, small, big, ubig, ratio, price, day, moment, span, label] = scenario.kinds
  const [year, month, date] = day.split('-').map(Number)
  const values = [
    Number(tiny), Number(small), BigInt(big), BigInt(ubig), Number(ratio), price, new Date(year, month - 1, date),
    moment, span, label, Buffer.from(scenario.data, 'hex'), null
  ]
  const holes = values.map(() => '?').join(', ')
  await connection.run(`INSERT INTO kinds (id, ${scenario.columns}) VALUES (1, ${holes})`, values)
  const [rows, columns] = await connection.select(`SELECT ${scenario.columns} FROM kinds WHERE id = ?`, [1])
  seen.kinds = rows[0].map(shown)
  seen.columns = columns
  seen.stored = await ask(connection, scenario.stored)
}

async function transactions (connection, seen) {
  const update = "UPDATE notes SET note = 'changed' WHERE id > 3"
  const first = await connection.run(update)
  const second = await connection.run(update)
  seen.updated = [first.affectedRows, second.affectedRows]
  if (driver.changedRows) seen['changed rows'] = [first, second].map(driver.changedRows)
  for (const end of ['rollback', 'commit']) {
    await connection.begin()
    await connection.run('INSERT INTO notes (note) VALUES (?)', [end])
    await connection[end]()
    seen[`after ${end}`] = await ask(connection, 'SELECT COUNT(*) FROM notes')
  }
}

async function large (connection, seen) {
  const big = Buffer.from(fs.readFileSync(scenario.big_file))
  await connection.run('INSERT INTO files (id, content) VALUES (1, ?)', [big])
  const [[[content]]] = await connection.select('SELECT content FROM files WHERE id = ?', [1])
  seen.big = `${content.length} ${sha256(content)}`
}

async function huge (connection, seen) {
  const content = scenario.huge_unit.repeat(scenario.huge_times)
  const [[[digest]]] = await connection.select('SELECT SHA2(?, 256)', [content])
  seen['huge sent'] = digest
  const repeat = 'SELECT REPEAT(?, ?)'
  const [[[received]]] = await connection.select(repeat, [scenario.huge_unit, scenario.huge_times])
  seen['huge received'] = `${received.length} ${sha256(received)}`
}

async function databases (connection, seen) {
  await connection.query(`USE ${scenario.second_database}`)
  const found = [await ask(connection, 'SELECT DATABASE()'), await ask(connection, 'SELECT mark FROM marks')]
  await connection.changeDatabase(scenario.database)
  seen.databases = [...found, await ask(connection, 'SELECT DATABASE()')]
}

async function streamed (connection) {
  let total = 0
  await connection.stream(`SELECT seq FROM seq_1_to_${scenario.streamed}`, row => { total += Number(row.seq) })
  return String(total)
}

async function types (connection, seen) {
  const [text, columns] = await connection.select(scenario.select_types_as_text, [], 'query')
  seen['types as text'] = shownRows(text)
  seen['type columns'] = columns
  seen['types prepared'] = shownRows((await connection.select(scenario.select_types, [0], 'execute'))[0])
}

async function allResults (connection, statement) {
  const found = []
  try {
    for (const rows of await connection.results(statement)) found.push(shownRows(rows))
  } catch (error) {
    found.push(shownError(error))
  }
  return found
}

async function results (connection, seen) {
  seen.results = await allResults(connection, 'CALL several(7)')
  seen.halfway = await allResults(connection, 'CALL halfway()')
  await connection.query('CALL doubled(21, @twice)')
  seen.out = await ask(connection, 'SELECT @twice')
}

async function users (connection, { target, other }, seen) {
  await connection.changeUser(other)
  const first = await ask(connection, 'SELECT CURRENT_USER()')
  await connection.changeUser(target)
  seen['changed user'] = [first, await ask(connection, 'SELECT CURRENT_USER()')]
}

// A pool notices that a connection of its own was killed, and makes another.
async function killed (target) {
  const pool = driver.pool(target)
  const victim = await pool.get()
  const killer = await driver.connect(target)
  await killer.run(`KILL ${await ask(victim, 'SELECT CONNECTION_ID()')}`)
  await killer.end()
  const state = await ask(victim, "SELECT 'still there'").catch(() => 'lost')
  await victim.release()
  const another = await pool.get()
  const again = await ask(another, "SELECT 'again'")
  await another.release()
  await pool.end()
  return [state, again]
}

async function play (job) {
  const seen = {}
  const connection = await driver.connect(job.target)
  seen.session = await askRow(connection, 'SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()')
  seen['own id'] = await ask(connection, 'SELECT CONNECTION_ID()') === String(connection.id)
  for (const statement of scenario.tables) await connection.run(statement)
  await notes(connection, seen)
  await kinds(connection, seen)
  await transactions(connection, seen)
  seen.duplicate = await refused(connection, "INSERT INTO notes VALUES (1, 'again')")
  seen.syntax = await refused(connection, 'SELEKT 1')
  seen['no table'] = await refused(connection, 'SELECT * FROM missing')
  await askRows(connection, "SELECT CAST('12abc' AS SIGNED)")
  seen.warnings = await askRows(connection, 'SHOW WARNINGS')
  await large(connection, seen)
  await databases(connection, seen)
  seen.streamed = await streamed(connection)
  await types(connection, seen)
  await results(connection, seen)
  if (job.huge) await huge(connection, seen)
  await connection.ping()
  seen.ping = true
  await users(connection, job, seen)
  await connection.query('SET @mine = 5')
  await connection.reset()
  seen.reset = await askRow(connection, 'SELECT @mine, DATABASE()')
  await connection.end()
  seen.killed = await killed(job.target)
  return seen
}

async function several ({ target }) {
  const connection = await driver.connect(target)
  const seen = {
    results: await allResults(connection, scenario.several),
    wrong: await allResults(connection, scenario.several_wrong),
    after: await ask(connection, "SELECT 'after'")
  }
  await connection.end()
  return seen
}

async function infile ({ target, file }) {
  const connection = await driver.connect(target)
  await connection.query(scenario.loaded_table)
  const seen = { affected: (await connection.query(scenario.load.replace('{}', file))).affectedRows }
  await connection.query(scenario.load.replace('{}', `${file}.missing`)).catch(error => { seen.missing = shownError(error) })
  seen.loaded = await askRow(connection, scenario.loaded)
  seen.after = await ask(connection, "SELECT 'after'")
  await connection.end()
  return seen
}

async function compress ({ target }) {
  const connection = await driver.connect(target)
  const [[[sent]]] = await connection.select(`SELECT SHA2('${'y'.repeat(3000000)}', 256)`)
  const [[[received]]] = await connection.select("SELECT REPEAT('z', 3000000)")
  await connection.end()
  return { sent, received: `${received.length} ${sha256(received)}` }
}

// Rows of each SELECT, affected rows of everything else, or the error.
async function answers ({ target, asked }) {
  const connection = await driver.connect(target)
  const found = []
  for (const { statement, values } of asked) {
    if (statement.startsWith('SELECT')) {
      found.push(await askRows(connection, statement, values))
    } else {
      try {
        found.push((await connection.run(statement, values)).affectedRows)
      } catch (error) {
        found.push(shownError(error))
      }
    }
  }
  await connection.end()
  return { answers: found }
}

const actions = { play, several, infile, compress, ask: answers, 'log in': logIn }

async function main () {
  const seen = []
  for (const job of jobs) {
    try {
      seen.push(await actions[job.action](job))
    } catch (error) {
      seen.push({ failed: String(error.stack) })
    }
  }
  process.stdout.write(JSON.stringify(seen), () => process.exit(0))
}

main()
