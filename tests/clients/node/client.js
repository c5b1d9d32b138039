// The scenario of ../scenario.py for node's mysql2. Reads what to do from standard input, writes what it saw.
//
// `mode` is the method that statements go through: query (as text) or execute (prepared on the server, kept).
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const mysql = require('mysql2/promise')

const { action, mode, target, other, scenario, asked } = JSON.parse(fs.readFileSync(0, 'utf8'))

function options (account) {
  const found = {
    host: account.host,
    port: account.port,
    user: account.user,
    password: account.password,
    database: account.database,
    // JavaScript's own numbers and dates are too coarse for what is compared here.
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true
  }
  if (account.ca) {
    found.ssl = { ca: fs.readFileSync(account.ca) }
    if (account.cert) {
      found.ssl.cert = fs.readFileSync(account.cert)
      found.ssl.key = fs.readFileSync(account.key)
    }
  }
  return found
}

function shown (value) {
  if (value === null) return null
  if (Buffer.isBuffer(value)) return `x:${value.toString('hex')}`
  return String(value)
}

function shownError (error) {
  if (error.errno === undefined) return [0, null, error.message]
  return [error.errno, error.sqlState ?? null, error.sqlMessage ?? error.message]
}

const run = (connection, statement, values) => connection[mode](statement, values)

async function askRows (connection, statement, values) {
  const [rows] = await connection[mode]({ sql: statement, rowsAsArray: true }, values)
  return rows.map(row => row.map(shown))
}

const askRow = async (connection, statement) => (await askRows(connection, statement))[0]
const ask = async (connection, statement) => (await askRow(connection, statement))[0]

async function refused (connection, statement) {
  try {
    await run(connection, statement)
  } catch (error) {
    return shownError(error)
  }
  return []
}

async function logIn () {
  let connection
  try {
    connection = await mysql.createConnection(options(target))
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
  for (const note of scenario.notes.slice(0, 2)) done.push((await run(connection, insert, [note]))[0])
  done.push((await run(connection, 'INSERT INTO notes (note) VALUES (?), (?), (?)', scenario.notes.slice(2)))[0])
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
  await run(connection, `INSERT INTO kinds (id, ${scenario.columns}) VALUES (1, ${holes})`, values)
  const select = { sql: `SELECT ${scenario.columns} FROM kinds WHERE id = ?`, rowsAsArray: true }
  const [rows, fields] = await connection[mode](select, [1])
  seen.kinds = rows[0].map(shown)
  seen.columns = fields.map(field => [
    field.name, field.orgName, field.table, field.schema, field.columnType, field.columnLength, field.decimals,
    field.flags, field.characterSet
  ])
}

async function transactions (connection, seen) {
  const update = "UPDATE notes SET note = 'changed' WHERE id > 3"
  const first = (await run(connection, update))[0]
  const second = (await run(connection, update))[0]
  seen.updated = [first.affectedRows, second.affectedRows]
  seen['changed rows'] = [first.changedRows, second.changedRows] // read from the text of the OK packet
  for (const end of ['rollback', 'commit']) {
    await connection.beginTransaction()
    await run(connection, 'INSERT INTO notes (note) VALUES (?)', [end])
    await connection[end]()
    seen[`after ${end}`] = await ask(connection, 'SELECT COUNT(*) FROM notes')
  }
}

async function large (connection, seen) {
  await run(connection, 'INSERT INTO files (id, content) VALUES (1, ?)', [Buffer.from(scenario.big, 'hex')])
  const [[row]] = await run(connection, 'SELECT content FROM files WHERE id = ?', [1])
  const hash = crypto.createHash('sha256').update(row.content).digest('hex')
  seen.big = `${row.content.length} ${hash}`
}

async function databases (connection, seen) {
  await connection.query(`USE ${scenario.second_database}`)
  const found = [await ask(connection, 'SELECT DATABASE()'), await ask(connection, 'SELECT mark FROM marks')]
  await connection.changeUser({ database: scenario.database })
  seen.databases = [...found, await ask(connection, 'SELECT DATABASE()')]
}

function streamed (connection) {
  return new Promise((resolve, reject) => {
    let total = 0
    const rows = connection.connection.query(`SELECT seq FROM seq_1_to_${scenario.streamed}`).stream()
    rows.on('data', row => { total += Number(row.seq) })
    rows.on('end', () => resolve(String(total)))
    rows.on('error', reject)
  })
}

async function users (connection, seen) {
  await connection.changeUser({ user: other.user, password: other.password })
  const first = await ask(connection, 'SELECT CURRENT_USER()')
  await connection.changeUser({ user: target.user, password: target.password })
  seen['changed user'] = [first, await ask(connection, 'SELECT CURRENT_USER()')]
}

// A pool notices that a connection of its own was killed, and makes another.
async function killed () {
  const pool = mysql.createPool({ ...options(target), connectionLimit: 1 })
  const victim = await pool.getConnection()
  const killer = await mysql.createConnection(options(target))
  await run(killer, `KILL ${await ask(victim, 'SELECT CONNECTION_ID()')}`)
  await killer.end()
  const state = await ask(victim, "SELECT 'still there'").catch(() => 'lost')
  victim.release()
  const again = await ask(pool, "SELECT 'again'")
  await pool.end()
  return [state, again]
}

async function play () {
  const seen = {}
  const connection = await mysql.createConnection(options(target))
  seen.session = await askRow(connection, 'SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()')
  seen['own id'] = await ask(connection, 'SELECT CONNECTION_ID()') === String(connection.threadId)
  for (const statement of scenario.tables) await run(connection, statement)
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
  await connection.ping()
  seen.ping = true
  await users(connection, seen)
  await connection.query('SET @mine = 5')
  await connection.reset()
  seen.reset = await askRow(connection, 'SELECT @mine, DATABASE()')
  await connection.end()
  seen.killed = await killed()
  return seen
}

// Rows of each SELECT, affected rows of everything else, or the error.
async function answers () {
  const connection = await mysql.createConnection(options(target))
  const found = []
  for (const { statement, values } of asked) {
    if (statement.startsWith('SELECT')) {
      found.push(await askRows(connection, statement, values))
    } else {
      try {
        found.push((await run(connection, statement, values))[0].affectedRows)
      } catch (error) {
        found.push(shownError(error))
      }
    }
  }
  await connection.end()
  return { answers: found }
}

const actions = { play, ask: answers, 'log in': logIn }

actions[action]().then(
  seen => process.stdout.write(JSON.stringify(seen)),
  error => { console.error(error); process.exit(1) }
)
