// MariaDB's own driver for ./client.js, see ./mysql2.js.
'use strict'

const fs = require('node:fs')
const mariadb = require('mariadb')

function options (account) {
  const found = {
    host: account.host,
    port: account.port,
    user: account.user,
    password: account.password,
    database: account.database,
    allowPublicKeyRetrieval: true,
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    insertIdAsNumber: true,
    prepareCacheLength: 0, // it does not forget what it has prepared when the user changes
    multipleStatements: account.options.includes('several'),
    permitLocalInfile: account.options.includes('infile'),
    compress: account.options.includes('compress')
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

class Connection {
  constructor (inner, method) {
    this.inner = inner
    this.method = method
  }

  get id () { return this.inner.threadId }

  async run (statement, values) {
    const { insertId, affectedRows } = await this.inner[this.method](statement, values)
    return { insertId: Number(insertId), affectedRows }
  }

  async select (statement, values, method = this.method) {
    const rows = await this.inner[method]({ sql: statement, rowsAsArray: true }, values)
    const columns = rows.meta.map(column => [
      column.name(), column.orgName(), column.table(), column.db(), column.type, column.columnLength, column.scale,
      column.flags, column.collation.index
    ])
    return [rows, columns]
  }

  async results (call) {
    const found = await this.inner.query({ sql: call, rowsAsArray: true })
    return found.filter(Array.isArray)
  }

  query (statement) { return this.inner.query(statement) }
  changeDatabase (database) { return this.inner.query(`USE ${database}`) }

  async changeUser (account) {
    await this.inner.changeUser({ user: account.user, password: account.password, database: account.database })
  }

  async stream (statement, row) {
    for await (const each of this.inner.queryStream(statement)) row(each)
  }

  async begin () { await this.inner.beginTransaction() }
  async commit () { await this.inner.commit() }
  async rollback () { await this.inner.rollback() }
  async ping () { await this.inner.ping() }
  async reset () { await this.inner.reset() }
  async end () { await this.inner.end() }
  async release () { await this.inner.release() }
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
  connect: async account => new Connection(await mariadb.createConnection(options(account)), method),
  pool: account => new Pool(mariadb.createPool({ ...options(account), connectionLimit: 1 }), method)
})
