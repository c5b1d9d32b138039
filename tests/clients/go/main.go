// The scenario of ../scenario.py for Go's go-sql-driver. Reads what to do from standard input, writes what it saw.
//
// Mode "prepared" is the driver's default: every statement with values is prepared, executed and closed. Mode
// "interpolated" is interpolateParams=true.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

type account struct {
	Host, User, Password, Database, CA, Cert, Key string
	Options                                       []string
	Port                                          int
}

type work struct {
	Mode     string
	Jobs     []job
	Scenario scenario
}

type job struct {
	Action        string
	Target, Other account
	Huge          bool
	File          string
	Asked         []question
	mode          string
	scenario      scenario
}

type scenario struct {
	Tables, Notes, Kinds    []*string
	Columns, Data, Database string
	Stored                  string
	Streamed                int
	SecondDatabase          string `json:"second_database"`
	BigFile                 string `json:"big_file"`
	HugeUnit                string `json:"huge_unit"`
	HugeTimes               int    `json:"huge_times"`
	Several, Loaded, Load   string
	SeveralWrong            string `json:"several_wrong"`
	LoadedTable             string `json:"loaded_table"`
	SelectTypes             string `json:"select_types"`
	SelectTypesAsText       string `json:"select_types_as_text"`
}

type question struct {
	Statement string
	Values    []any
}

type seen map[string]any

var background = context.Background()

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}

func (to account) has(option string) bool {
	for _, each := range to.Options {
		if each == option {
			return true
		}
	}
	return false
}

func open(to account, mode string) *sql.DB {
	config := mysql.NewConfig()
	config.Net = "tcp"
	config.Addr = fmt.Sprintf("%s:%d", to.Host, to.Port)
	config.User, config.Passwd, config.DBName = to.User, to.Password, to.Database
	config.InterpolateParams = mode == "interpolated"
	config.MultiStatements = to.has("several")
	config.AllowAllFiles = to.has("infile")
	config.Logger = log.New(os.Stderr, "", 0)
	if to.CA != "" {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(must(os.ReadFile(to.CA))) {
			panic("no certificate in " + to.CA)
		}
		config.TLS = &tls.Config{RootCAs: roots, ServerName: to.Host}
		if to.Cert != "" {
			config.TLS.Certificates = []tls.Certificate{must(tls.LoadX509KeyPair(to.Cert, to.Key))}
		}
	}
	return sql.OpenDB(must(mysql.NewConnector(config)))
}

func shown(value any, kind string) any {
	switch value := value.(type) {
	case nil:
		return nil
	case []byte:
		if strings.Contains(kind, "BINARY") || strings.Contains(kind, "BLOB") {
			return "x:" + hex.EncodeToString(value)
		}
		return string(value)
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64)
	default:
		return fmt.Sprint(value)
	}
}

func shownError(err error) []any {
	var known *mysql.MySQLError
	if errors.As(err, &known) {
		return []any{known.Number, string(known.SQLState[:]), known.Message}
	}
	return []any{0, nil, err.Error()}
}

func askRows(on *sql.Conn, statement string, values ...any) ([][]any, []*sql.ColumnType) {
	found := must(on.QueryContext(background, statement, values...))
	defer found.Close()
	rows, types := nextRows(found)
	ok(found.Err())
	return rows, types
}

// The rows of the result that a cursor is at.
func nextRows(found *sql.Rows) ([][]any, []*sql.ColumnType) {
	types := must(found.ColumnTypes())
	rows := [][]any{}
	for found.Next() {
		row := make([]any, len(types))
		places := make([]any, len(types))
		for i := range row {
			places[i] = &row[i]
		}
		ok(found.Scan(places...))
		for i, value := range row {
			row[i] = shown(value, types[i].DatabaseTypeName())
		}
		rows = append(rows, row)
	}
	return rows, types
}

func askRow(on *sql.Conn, statement string, values ...any) []any {
	rows, _ := askRows(on, statement, values...)
	return rows[0]
}

func ask(on *sql.Conn, statement string, values ...any) any {
	return askRow(on, statement, values...)[0]
}

func refused(on *sql.Conn, statement string, values ...any) []any {
	if _, err := on.ExecContext(background, statement, values...); err != nil {
		return shownError(err)
	}
	return []any{}
}

func notes(w job, on *sql.Conn, saw seen) {
	given := []any{}
	for _, note := range w.scenario.Notes {
		given = append(given, *note)
	}
	ids := [][]int64{}
	insert := func(holes string, values ...any) {
		result := must(on.ExecContext(background, "INSERT INTO notes (note) VALUES "+holes, values...))
		ids = append(ids, []int64{must(result.LastInsertId()), must(result.RowsAffected())})
	}
	insert("(?)", given[0])
	insert("(?)", given[1])
	insert("(?), (?), (?)", given[2:]...)
	saw["insert ids"] = ids
	saw["LAST_INSERT_ID()"] = ask(on, "SELECT LAST_INSERT_ID()")

	byID := []any{}
	statement := must(on.PrepareContext(background, "SELECT note FROM notes WHERE id = ?"))
	defer statement.Close()
	for _, id := range []int{3, 1, 99, 5} {
		var note sql.NullString
		err := statement.QueryRow(id).Scan(&note)
		if errors.Is(err, sql.ErrNoRows) {
			byID = append(byID, nil)
			continue
		}
		ok(err)
		byID = append(byID, note.String)
	}
	saw["notes by id"] = byID
}

func kinds(w job, on *sql.Conn, saw seen) {
	text := func(i int) string { return *w.scenario.Kinds[i] }
	values := []any{
		must(strconv.ParseInt(text(0), 10, 8)),
		must(strconv.ParseUint(text(1), 10, 16)),
		int64(math.MinInt64),
		uint64(math.MaxUint64),
		must(strconv.ParseFloat(text(4), 64)),
		text(5),
		must(time.Parse("2006-01-02", text(6))),
		must(time.Parse("2006-01-02 15:04:05.999999", text(7))),
		text(8),
		text(9),
		must(hex.DecodeString(w.scenario.Data)),
		nil,
	}
	holes := strings.Repeat(", ?", len(values))
	insert := "INSERT INTO kinds (id, " + w.scenario.Columns + ") VALUES (1" + holes + ")"
	must(on.ExecContext(background, insert, values...))
	rows, types := askRows(on, "SELECT "+w.scenario.Columns+" FROM kinds WHERE id = ?", 1)
	saw["kinds"] = rows[0]
	saw["columns"] = shownColumns(types)
	saw["stored"] = ask(on, w.scenario.Stored)
}

func shownColumns(types []*sql.ColumnType) [][]any {
	columns := [][]any{}
	for _, column := range types {
		nullable, _ := column.Nullable()
		precision, scale, _ := column.DecimalSize()
		scan := column.ScanType().String()
		columns = append(columns, []any{column.Name(), column.DatabaseTypeName(), nullable, precision, scale, scan})
	}
	return columns
}

func transactions(on *sql.Conn, saw seen) {
	updated := []int64{}
	for i := 0; i < 2; i++ {
		result := must(on.ExecContext(background, "UPDATE notes SET note = ? WHERE id > ?", "changed", 3))
		updated = append(updated, must(result.RowsAffected()))
	}
	saw["updated"] = updated
	for _, end := range []string{"rollback", "commit"} {
		transaction := must(on.BeginTx(background, nil))
		must(transaction.Exec("INSERT INTO notes (note) VALUES (?)", end))
		if end == "rollback" {
			ok(transaction.Rollback())
		} else {
			ok(transaction.Commit())
		}
		saw["after "+end] = ask(on, "SELECT COUNT(*) FROM notes")
	}
}

func big(w job, on *sql.Conn, saw seen) {
	content := must(os.ReadFile(w.scenario.BigFile))
	must(on.ExecContext(background, "INSERT INTO files (id, content) VALUES (?, ?)", 1, content))
	var back []byte
	ok(on.QueryRowContext(background, "SELECT content FROM files WHERE id = ?", 1).Scan(&back))
	saw["big"] = fmt.Sprintf("%d %x", len(back), sha256.Sum256(back))
}

func types(w job, on *sql.Conn, saw seen) {
	text, columns := askRows(on, w.scenario.SelectTypesAsText)
	saw["types as text"], saw["type columns"] = text, shownColumns(columns)
	statement := must(on.PrepareContext(background, w.scenario.SelectTypes))
	defer statement.Close()
	found := must(statement.Query(0))
	defer found.Close()
	saw["types prepared"], _ = nextRows(found)
	ok(found.Err())
}

// Rows of each result of a procedure, and last the error if there is one.
func results(on *sql.Conn, procedure string, values ...any) []any {
	holes := strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ")
	return allResults(on, "CALL "+procedure+"("+holes+")", values...)
}

func allResults(on *sql.Conn, statement string, values ...any) []any {
	found, err := on.QueryContext(background, statement, values...)
	if err != nil {
		return []any{shownError(err)}
	}
	defer found.Close()
	all := []any{}
	for {
		rows, columns := nextRows(found)
		if len(columns) > 0 {
			all = append(all, rows)
		}
		if !found.NextResultSet() {
			break
		}
	}
	if err := found.Err(); err != nil {
		all = append(all, shownError(err))
	}
	return all
}

func procedures(on *sql.Conn, saw seen) {
	saw["results"] = results(on, "several", 7)
	saw["halfway"] = results(on, "halfway")
	must(on.ExecContext(background, "CALL doubled(?, @twice)", 21))
	saw["out"] = ask(on, "SELECT @twice")
}

func huge(w job, on *sql.Conn, saw seen) {
	content := strings.Repeat(w.scenario.HugeUnit, w.scenario.HugeTimes)
	saw["huge sent"] = ask(on, "SELECT SHA2(?, 256)", content)
	back := ask(on, "SELECT REPEAT(?, ?)", w.scenario.HugeUnit, w.scenario.HugeTimes).(string)
	saw["huge received"] = fmt.Sprintf("%d %x", len(back), sha256.Sum256([]byte(back)))
}

func databases(w job, on *sql.Conn, saw seen) {
	must(on.ExecContext(background, "USE "+w.scenario.SecondDatabase))
	found := []any{ask(on, "SELECT DATABASE()"), ask(on, "SELECT mark FROM marks")}
	must(on.ExecContext(background, "USE "+w.scenario.Database))
	saw["databases"] = append(found, ask(on, "SELECT DATABASE()"))
}

func streamed(w job, on *sql.Conn) string {
	rows := must(on.QueryContext(background, fmt.Sprintf("SELECT seq FROM seq_1_to_%d", w.scenario.Streamed)))
	defer rows.Close()
	total := 0
	for rows.Next() {
		var number int
		ok(rows.Scan(&number))
		total += number
	}
	ok(rows.Err())
	return strconv.Itoa(total)
}

// A connection that is killed says so; the pool then makes another.
func killed(w job, db *sql.DB) []any {
	victim := must(db.Conn(background))
	killer := must(db.Conn(background))
	must(killer.ExecContext(background, fmt.Sprintf("KILL %v", ask(victim, "SELECT CONNECTION_ID()"))))
	ok(killer.Close())
	state := "still there"
	if _, err := victim.ExecContext(background, "DO 1"); err != nil {
		state = "lost"
	}
	victim.Close()
	var again string
	ok(db.QueryRow("SELECT 'again'").Scan(&again))
	return []any{state, again}
}

func play(w job) seen {
	saw := seen{}
	db := open(w.Target, w.mode)
	defer db.Close()
	on := must(db.Conn(background))
	saw["session"] = askRow(on, "SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()")
	for _, statement := range w.scenario.Tables {
		must(on.ExecContext(background, *statement))
	}
	notes(w, on, saw)
	kinds(w, on, saw)
	transactions(on, saw)
	saw["duplicate"] = refused(on, "INSERT INTO notes VALUES (?, 'again')", 1)
	saw["syntax"] = refused(on, "SELEKT 1")
	saw["no table"] = refused(on, "SELECT * FROM missing")
	ask(on, "SELECT CAST('12abc' AS SIGNED)")
	saw["warnings"], _ = askRows(on, "SHOW WARNINGS")
	big(w, on, saw)
	databases(w, on, saw)
	saw["streamed"] = streamed(w, on)
	types(w, on, saw)
	procedures(on, saw)
	if w.Huge {
		huge(w, on, saw)
	}
	ok(on.PingContext(background))
	saw["ping"] = true
	ok(on.Close())
	saw["killed"] = killed(w, db)
	return saw
}

func logIn(w job) seen {
	db := open(w.Target, w.mode)
	defer db.Close()
	var answer string
	if err := db.QueryRow("SELECT 'in'").Scan(&answer); err != nil {
		return seen{"error": shownError(err)}
	}
	return seen{"answer": answer}
}

func several(w job) seen {
	db := open(w.Target, w.mode)
	defer db.Close()
	on := must(db.Conn(background))
	return seen{
		"results": allResults(on, w.scenario.Several),
		"wrong":   allResults(on, w.scenario.SeveralWrong),
		"after":   ask(on, "SELECT 'after'"),
	}
}

func infile(w job) seen {
	db := open(w.Target, w.mode)
	defer db.Close()
	on := must(db.Conn(background))
	must(on.ExecContext(background, w.scenario.LoadedTable))
	loaded := must(on.ExecContext(background, strings.Replace(w.scenario.Load, "{}", w.File, 1)))
	return seen{
		"affected": must(loaded.RowsAffected()),
		"missing":  refused(on, strings.Replace(w.scenario.Load, "{}", w.File+".missing", 1)),
		"loaded":   askRow(on, w.scenario.Loaded),
		"after":    ask(on, "SELECT 'after'"),
	}
}

// Rows of each SELECT, affected rows of everything else, or the error.
func answers(w job) seen {
	db := open(w.Target, w.mode)
	defer db.Close()
	on := must(db.Conn(background))
	found := []any{}
	for _, asked := range w.Asked {
		for i, value := range asked.Values {
			if number, is := value.(json.Number); is {
				asked.Values[i] = must(number.Int64())
			}
		}
		if strings.HasPrefix(asked.Statement, "SELECT") {
			rows, _ := askRows(on, asked.Statement, asked.Values...)
			found = append(found, rows)
		} else if result, err := on.ExecContext(background, asked.Statement, asked.Values...); err != nil {
			found = append(found, shownError(err))
		} else {
			found = append(found, must(result.RowsAffected()))
		}
	}
	return seen{"answers": found}
}

// What a job shows; a job that fails says so.
func carryOut(w job) (saw seen) {
	defer func() {
		if why := recover(); why != nil {
			saw = seen{"failed": fmt.Sprintf("%v\n%s", why, debug.Stack())}
		}
	}()
	switch w.Action {
	case "play":
		return play(w)
	case "several":
		return several(w)
	case "infile":
		return infile(w)
	case "ask":
		return answers(w)
	default:
		return logIn(w)
	}
}

func main() {
	var w work
	given := json.NewDecoder(os.Stdin)
	given.UseNumber()
	ok(given.Decode(&w))
	all := []seen{}
	for _, each := range w.Jobs {
		each.mode, each.scenario = w.Mode, w.Scenario
		all = append(all, carryOut(each))
	}
	ok(json.NewEncoder(os.Stdout).Encode(all))
}
