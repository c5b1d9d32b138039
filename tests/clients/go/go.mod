module turnout/tests/clients

go 1.18

// The newest version that the Go of Debian 12 (1.19) builds.
require github.com/go-sql-driver/mysql v1.8.1

require filippo.io/edwards25519 v1.1.0 // indirect
