// mysql2 for ./client.js: `method` is what statements go through, query (as text) or execute (prepared, kept).
'use strict'

const fs = require('node:fs')
const mysql = require('mysql2/promise')

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
    bigNumberStrings: true,
    multipleStatements: account.options.includes('several'),
    compress: account.options.includes('compress')
  }
  if (account.options.includes('infile')) found.infileStreamFactory = path => fs.createReadStream(path)
  if (account.ca) {
    found.ssl = { ca: fs.readFileSync(account.ca) }
    if (account.cert) {
      found.ssl.cert = fs.readFileSync(account.cert)
      found.ssl.key = fs.readFileSync(account.key)
    }
  }
  return found
}

class Connection {
  constructor (inner, method) {
    this.inner = inner
    this.method = method
  }

  get id () { return this.inner.threadId }

  async run (statement, values) { return (await this.inner[this.method](statement, values))[0] }

  // [rows, columns]; `method` other than the connection's own, if given
  async select (statement, values, method = this.method) {
    const [rows, fields] = await this.inner[method]({ sql: statement, rowsAsArray: true }, values)
    const columns = fields.map(field => [
      field.name, field.orgName, field.table, field.schema, field.columnType, field.columnLength, field.decimals,
      field.flags, field.characterSet
    ])
    return [rows, columns]
  }

  // Rows of each result; the driver forgets them when an error follows.
  async results (call) {
    const [found] = await this.inner.query({ sql: call, rowsAsArray: true })
    return found.filter(Array.isArray)
  }

  async query (statement) { return (await this.inner.query(statement))[0] }
  async changeDatabase (database) { await this.inner.changeUser({ database }) }
  async changeUser (account) { await this.inner.changeUser({ user: account.user, password: account.password }) }

  stream (statement, row) {
    return new Promise((resolve, reject) => {
      const rows = this.inner.connection.query(statement).stream()
      rows.on('data', row)
      rows.on('end', resolve)
      rows.on('error', reject)
    })
  }

  async begin () { await this.inner.beginTransaction() }
  async commit () { await this.inner.commit() }
  async rollback () { await this.inner.rollback() }
  async ping () { await this.inner.ping() }
  async reset () { await this.inner.reset() }
  async end () { await this.inner.end() }
  release () { this.inner.release() }
}

class Pool {
  constructor (inner, method) {
    this.inner = inner
    this.method = method
  }

  async get () { return new Connection(await this.inner.getConnection(), this.method) }
  async end () { await this.inner.end() }
}

module.exports = method => ({
  connect: async account => new Connection(await mysql.createConnection(options(account)), method),
  pool: account => new Pool(mysql.createPool({ ...options(account), connectionLimit: 1 }), method),
  // What the text of the OK packet says.
  changedRows: result => result.changedRows
})
