// The scenario of ../scenario.py for Java's drivers. Reads what to do from standard input, writes what it saw.
//
// `mode` is the driver: mysql (Connector/J) or mariadb (MariaDB Connector/J); `mysql cursors`: rows are fetched, a few at a time.

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;

import org.json.JSONArray;
import org.json.JSONObject;
import org.json.JSONTokener;

public final class Client {
    private static final String STORE_PASSWORD = "changeit";

    private static String mode;
    private static boolean cursors;
    private static JSONObject scenario;
    // Paths of key stores, by what they are made from.
    private static final Map<String, String> stores = new HashMap<>();

    private Client() {
    }

    public static void main(String[] arguments) throws Exception {
        JSONObject work = new JSONObject(new JSONTokener(System.in));
        String[] words = work.getString("mode").split(" ");
        mode = words[0];
        cursors = words.length > 1;
        scenario = work.getJSONObject("scenario");
        JSONArray seen = new JSONArray();
        for (Object job : work.getJSONArray("jobs")) {
            seen.put(carryOut((JSONObject) job));
        }
        System.out.write(seen.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
        System.exit(0); // without waiting for the drivers' own threads
    }

    private static JSONObject carryOut(JSONObject job) {
        try {
            JSONObject target = job.getJSONObject("target");
            return switch (job.getString("action")) {
                case "play" -> play(job);
                case "several" -> several(target);
                case "infile" -> infile(target, job.getString("file"));
                case "compress" -> compress(target);
                default -> logIn(target);
            };
        } catch (Exception failure) {
            StringWriter trace = new StringWriter();
            failure.printStackTrace(new PrintWriter(trace));
            return new JSONObject().put("failed", trace.toString());
        }
    }

    // -- connections

    private static Connection connect(JSONObject account) throws Exception {
        Properties options = new Properties();
        options.setProperty("user", account.getString("user"));
        options.setProperty("password", account.getString("password"));
        options.setProperty("allowPublicKeyRetrieval", "true");
        options.setProperty("useServerPrepStmts", "true");
        options.setProperty("connectTimeout", "20000");
        options.setProperty("socketTimeout", "60000");
        boolean infile = has(account, "infile");
        options.setProperty("allowMultiQueries", String.valueOf(has(account, "several")));
        options.setProperty(mode.equals("mysql") ? "allowLoadLocalInfile" : "allowLocalInfile", String.valueOf(infile));
        options.setProperty("useCompression", String.valueOf(has(account, "compress")));
        String ca = account.getString("ca");
        if (mode.equals("mysql")) {
            options.setProperty("zeroDateTimeBehavior", "CONVERT_TO_NULL");
            options.setProperty("useCursorFetch", String.valueOf(cursors));
            options.setProperty("defaultFetchSize", cursors ? "2" : "0");
            options.setProperty("sslMode", ca.isEmpty() ? "DISABLED" : "VERIFY_CA");
            if (!ca.isEmpty()) {
                options.setProperty("trustCertificateKeyStoreUrl", "file:" + trustStore(ca));
                options.setProperty("trustCertificateKeyStoreType", "PKCS12");
                options.setProperty("trustCertificateKeyStorePassword", STORE_PASSWORD);
            }
            if (!account.getString("cert").isEmpty()) {
                options.setProperty("clientCertificateKeyStoreUrl", "file:" + keyStore(account));
                options.setProperty("clientCertificateKeyStoreType", "PKCS12");
                options.setProperty("clientCertificateKeyStorePassword", STORE_PASSWORD);
            }
        } else {
            options.setProperty("sslMode", ca.isEmpty() ? "disable" : "verify-ca");
            if (!ca.isEmpty()) {
                options.setProperty("serverSslCert", ca);
            }
            if (!account.getString("cert").isEmpty()) {
                options.setProperty("keyStore", keyStore(account));
                options.setProperty("keyStoreType", "PKCS12");
                options.setProperty("keyStorePassword", STORE_PASSWORD);
            }
        }
        String url = "jdbc:%s://%s:%d/%s".formatted(
            mode, account.getString("host"), account.getInt("port"), account.getString("database"));
        return DriverManager.getConnection(url, options);
    }

    private static boolean has(JSONObject account, String option) {
        return account.getJSONArray("options").toList().contains(option);
    }

    private static String trustStore(String ca) throws Exception {
        if (!stores.containsKey(ca)) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            store.setCertificateEntry("ca", certificate(ca));
            stores.put(ca, saved(store));
        }
        return stores.get(ca);
    }

    private static String keyStore(JSONObject account) throws Exception {
        String path = account.getString("cert");
        if (!stores.containsKey(path)) {
            String pem = Files.readString(Path.of(account.getString("key"))).replaceAll("-----[A-Z ]+-----|\\s", "");
            PKCS8EncodedKeySpec specification = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem));
            PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(specification);
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            Certificate[] chain = {certificate(path), certificate(account.getString("ca"))};
            store.setKeyEntry("client", key, STORE_PASSWORD.toCharArray(), chain);
            stores.put(path, saved(store));
        }
        return stores.get(path);
    }

    private static Certificate certificate(String path) throws Exception {
        byte[] pem = Files.readAllBytes(Path.of(path));
        return CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(pem));
    }

    private static String saved(KeyStore store) throws Exception {
        File file = File.createTempFile("turnout-client", ".p12");
        file.deleteOnExit();
        try (OutputStream out = new FileOutputStream(file)) {
            store.store(out, STORE_PASSWORD.toCharArray());
        }
        return file.getPath();
    }

    private static JSONObject logIn(JSONObject target) throws Exception {
        Connection connection;
        try {
            connection = connect(target);
        } catch (SQLException error) {
            return new JSONObject().put("error", shownError(error));
        }
        try (connection) {
            return new JSONObject().put("answer", ask(connection, "SELECT 'in'"));
        }
    }

    // -- what is shown

    private static JSONArray shownError(SQLException error) {
        // MariaDB's driver puts the connection's number before the text.
        String message = error.getMessage().replaceFirst("^\\(conn=-?\\d+\\) ", "");
        return new JSONArray().put(error.getErrorCode()).put((Object) error.getSQLState()).put(message);
    }

    private static Object shown(ResultSet rows, int column, int type) {
        try {
            switch (type) {
                case Types.BINARY, Types.VARBINARY, Types.LONGVARBINARY, Types.BIT, Types.BLOB -> {
                    byte[] bytes = rows.getBytes(column);
                    return bytes == null ? JSONObject.NULL : "x:" + HexFormat.of().formatHex(bytes);
                }
                default -> {
                    String text = rows.getString(column);
                    return text == null ? JSONObject.NULL : text;
                }
            }
        } catch (SQLException | RuntimeException error) { // a value that the driver does not read
            return "unreadable: " + error.getMessage();
        }
    }

    private static JSONArray shownRows(ResultSet rows) throws SQLException {
        ResultSetMetaData columns = rows.getMetaData();
        JSONArray all = new JSONArray();
        while (rows.next()) {
            JSONArray row = new JSONArray();
            for (int i = 1; i <= columns.getColumnCount(); i++) {
                row.put(shown(rows, i, columns.getColumnType(i)));
            }
            all.put(row);
        }
        return all;
    }

    private static JSONArray shownColumns(ResultSet rows) throws SQLException {
        ResultSetMetaData columns = rows.getMetaData();
        JSONArray all = new JSONArray();
        for (int i = 1; i <= columns.getColumnCount(); i++) {
            all.put(new JSONArray()
                .put(columns.getColumnLabel(i)).put(columns.getColumnName(i)).put(columns.getTableName(i))
                .put(columns.getCatalogName(i)).put(columns.getColumnTypeName(i)).put(columns.getColumnType(i))
                .put(columns.getPrecision(i)).put(columns.getScale(i)).put(columns.isNullable(i))
                .put(columns.isSigned(i)).put(columns.isAutoIncrement(i)).put(columns.getColumnClassName(i)));
        }
        return all;
    }

    private static String sha256(byte[] content) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    }

    // -- what is asked

    private static int execute(Connection connection, String sql, Object... values) throws SQLException {
        if (values.length == 0) {
            try (Statement statement = connection.createStatement()) {
                return statement.executeUpdate(sql);
            }
        }
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            return bound(statement, values).executeUpdate();
        }
    }

    private static PreparedStatement bound(PreparedStatement statement, Object... values) throws SQLException {
        for (int i = 0; i < values.length; i++) {
            statement.setObject(i + 1, values[i]);
        }
        return statement;
    }

    private static JSONArray askRows(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            return shownRows(rows);
        }
    }

    private static JSONArray askRow(Connection connection, String sql) throws SQLException {
        return askRows(connection, sql).getJSONArray(0);
    }

    private static Object ask(Connection connection, String sql) throws SQLException {
        return askRow(connection, sql).get(0);
    }

    private static JSONArray refused(Connection connection, String sql) {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        } catch (SQLException error) {
            return shownError(error);
        }
        return new JSONArray();
    }

    // -- the scenario

    private static JSONObject play(JSONObject job) throws Exception {
        JSONObject seen = new JSONObject();
        JSONObject target = job.getJSONObject("target");
        try (Connection connection = connect(target)) {
            seen.put("session", askRow(connection, "SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()"));
            for (Object statement : scenario.getJSONArray("tables")) {
                execute(connection, (String) statement);
            }
            notes(connection, seen);
            kinds(connection, seen);
            transactions(connection, seen);
            seen.put("duplicate", refused(connection, "INSERT INTO notes VALUES (1, 'again')"));
            seen.put("syntax", refused(connection, "SELEKT 1"));
            seen.put("no table", refused(connection, "SELECT * FROM missing"));
            ask(connection, "SELECT CAST('12abc' AS SIGNED)");
            seen.put("warnings", askRows(connection, "SHOW WARNINGS"));
            big(connection, seen);
            databases(connection, seen);
            seen.put("streamed", streamed(connection));
            types(connection, seen);
            seen.put("results", results(connection, "{CALL several(?)}", 7));
            seen.put("halfway", results(connection, "{CALL halfway()}"));
            seen.put("out", out(connection));
            if (job.getBoolean("huge")) {
                huge(connection, seen);
            }
            seen.put("ping", connection.isValid(10));
        }
        seen.put("killed", killed(target));
        return seen;
    }

    private static void notes(Connection connection, JSONObject seen) throws SQLException {
        JSONArray notes = scenario.getJSONArray("notes");
        JSONArray done = new JSONArray();
        String insert = "INSERT INTO notes (note) VALUES (?)";
        done.put(inserted(connection, insert, notes.get(0))).put(inserted(connection, insert, notes.get(1)));
        done.put(inserted(connection, insert + ", (?), (?)", notes.get(2), notes.get(3), notes.get(4)));
        seen.put("insert ids", done);
        seen.put("LAST_INSERT_ID()", ask(connection, "SELECT LAST_INSERT_ID()"));
        JSONArray found = new JSONArray();
        try (PreparedStatement statement = connection.prepareStatement("SELECT note FROM notes WHERE id = ?")) {
            for (int id : new int[] {3, 1, 99, 5}) {
                statement.setInt(1, id);
                try (ResultSet rows = statement.executeQuery()) {
                    found.put(rows.next() ? rows.getString(1) : JSONObject.NULL);
                }
            }
        }
        seen.put("notes by id", found);
    }

    private static JSONArray inserted(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
            int affected = bound(statement, values).executeUpdate();
            try (ResultSet keys = statement.getGeneratedKeys()) {
                keys.next();
                return new JSONArray().put(keys.getLong(1)).put(affected);
            }
        }
    }

    private static void kinds(Connection connection, JSONObject seen) throws SQLException {
        JSONArray kinds = scenario.getJSONArray("kinds");
        Object[] values = {
            (byte) kinds.getInt(0), kinds.getInt(1), kinds.getLong(2), kinds.getString(3),
            Double.valueOf(kinds.getString(4)), new BigDecimal(kinds.getString(5)), Date.valueOf(kinds.getString(6)),
            // Connector/J sends no fractions to a server that it takes for an old one.
            mode.equals("mysql") ? kinds.getString(7) : Timestamp.valueOf(kinds.getString(7)), kinds.getString(8), kinds.getString(9),
            HexFormat.of().parseHex(scenario.getString("data")), null
        };
        String columns = scenario.getString("columns");
        execute(connection, "INSERT INTO kinds (id, " + columns + ") VALUES (1" + ", ?".repeat(12) + ")", values);
        String select = "SELECT " + columns + " FROM kinds WHERE id = ?";
        try (PreparedStatement statement = connection.prepareStatement(select)) {
            statement.setInt(1, 1);
            try (ResultSet rows = statement.executeQuery()) {
                seen.put("columns", shownColumns(rows));
                seen.put("kinds", shownRows(rows).getJSONArray(0));
            }
        }
        seen.put("stored", ask(connection, scenario.getString("stored")));
    }

    private static void transactions(Connection connection, JSONObject seen) throws SQLException {
        String update = "UPDATE notes SET note = ? WHERE id > ?";
        JSONArray updated = new JSONArray();
        seen.put("updated", updated.put(execute(connection, update, "changed", 3)));
        updated.put(execute(connection, update, "changed", 3));
        connection.setAutoCommit(false);
        execute(connection, "INSERT INTO notes (note) VALUES ('rollback')");
        connection.rollback();
        seen.put("after rollback", ask(connection, "SELECT COUNT(*) FROM notes"));
        execute(connection, "INSERT INTO notes (note) VALUES ('commit')");
        connection.commit();
        seen.put("after commit", ask(connection, "SELECT COUNT(*) FROM notes"));
        connection.setAutoCommit(true);
    }

    private static void big(Connection connection, JSONObject seen) throws Exception {
        byte[] content = Files.readAllBytes(Path.of(scenario.getString("big_file")));
        execute(connection, "INSERT INTO files (id, content) VALUES (?, ?)", 1, content);
        try (PreparedStatement statement = connection.prepareStatement("SELECT content FROM files WHERE id = ?")) {
            statement.setInt(1, 1);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                byte[] back = rows.getBytes(1);
                seen.put("big", back.length + " " + sha256(back));
            }
        }
    }

    private static void huge(Connection connection, JSONObject seen) throws Exception {
        String unit = scenario.getString("huge_unit");
        int times = scenario.getInt("huge_times");
        try (PreparedStatement statement = connection.prepareStatement("SELECT SHA2(?, 256)")) {
            statement.setString(1, unit.repeat(times));
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                seen.put("huge sent", rows.getString(1));
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT REPEAT(?, ?)")) {
            try (ResultSet rows = bound(statement, unit, times).executeQuery()) {
                rows.next();
                byte[] back = rows.getBytes(1);
                seen.put("huge received", back.length + " " + sha256(back));
            }
        }
    }

    private static void databases(Connection connection, JSONObject seen) throws SQLException {
        connection.setCatalog(scenario.getString("second_database"));
        JSONArray found = new JSONArray();
        found.put(ask(connection, "SELECT DATABASE()")).put(ask(connection, "SELECT mark FROM marks"));
        execute(connection, "USE " + scenario.getString("database"));
        seen.put("databases", found.put(ask(connection, "SELECT DATABASE()")));
        connection.setCatalog(scenario.getString("database"));
    }

    private static String streamed(Connection connection) throws SQLException {
        long total = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(mode.equals("mysql") ? Integer.MIN_VALUE : 100);
            String sql = "SELECT seq FROM seq_1_to_" + scenario.getInt("streamed");
            try (ResultSet rows = statement.executeQuery(sql)) {
                while (rows.next()) {
                    total += rows.getInt(1);
                }
            }
        }
        return String.valueOf(total);
    }

    private static void types(Connection connection, JSONObject seen) throws SQLException {
        try (
            Statement statement = connection.createStatement();
            ResultSet rows = statement.executeQuery(scenario.getString("select_types_as_text"))
        ) {
            seen.put("type columns", shownColumns(rows));
            seen.put("types as text", shownRows(rows));
        }
        try (PreparedStatement statement = connection.prepareStatement(scenario.getString("select_types"))) {
            try (ResultSet rows = bound(statement, 0).executeQuery()) {
                seen.put("types prepared", shownRows(rows));
            }
        }
    }

    private static JSONArray results(Connection connection, String call, Object... values) throws SQLException {
        JSONArray all = new JSONArray();
        try (CallableStatement statement = connection.prepareCall(call)) {
            try {
                collect(statement, ((CallableStatement) bound(statement, values)).execute(), all);
            } catch (SQLException error) {
                all.put(shownError(error));
            }
        }
        return all;
    }

    private static JSONArray allResults(Connection connection, String sql) throws SQLException {
        JSONArray all = new JSONArray();
        try (Statement statement = connection.createStatement()) {
            try {
                collect(statement, statement.execute(sql), all);
            } catch (SQLException error) {
                all.put(shownError(error));
            }
        }
        return all;
    }

    // The rows of each result; `more`: the first one has rows.
    private static void collect(Statement statement, boolean more, JSONArray all) throws SQLException {
        while (more || statement.getUpdateCount() != -1) {
            if (more) {
                try (ResultSet rows = statement.getResultSet()) {
                    all.put(shownRows(rows));
                }
            }
            more = statement.getMoreResults();
        }
    }

    private static JSONObject several(JSONObject target) throws Exception {
        try (Connection connection = connect(target)) {
            return new JSONObject()
                .put("results", allResults(connection, scenario.getString("several")))
                .put("wrong", allResults(connection, scenario.getString("several_wrong")))
                .put("after", ask(connection, "SELECT 'after'"));
        }
    }

    private static JSONObject infile(JSONObject target, String file) throws Exception {
        String load = scenario.getString("load");
        try (Connection connection = connect(target)) {
            execute(connection, scenario.getString("loaded_table"));
            return new JSONObject()
                .put("affected", execute(connection, load.replace("{}", file)))
                .put("missing", refused(connection, load.replace("{}", file + ".missing")))
                .put("loaded", askRow(connection, scenario.getString("loaded")))
                .put("after", ask(connection, "SELECT 'after'"));
        }
    }

    private static JSONObject compress(JSONObject target) throws Exception {
        try (Connection connection = connect(target)) {
            Object sent = ask(connection, "SELECT SHA2('" + "y".repeat(3_000_000) + "', 256)");
            String received = (String) ask(connection, "SELECT REPEAT('z', 3000000)");
            String digest = received.length() + " " + sha256(received.getBytes(StandardCharsets.UTF_8));
            return new JSONObject().put("sent", sent).put("received", digest);
        }
    }

    private static Object out(Connection connection) throws SQLException {
        if (mode.equals("mariadb")) { // which waits for ever for the answer to a prepared call with OUT parameters
            execute(connection, "CALL doubled(21, @twice)");
            return ask(connection, "SELECT @twice");
        }
        try (CallableStatement statement = connection.prepareCall("{CALL doubled(?, ?)}")) {
            statement.setInt(1, 21);
            statement.registerOutParameter(2, Types.INTEGER);
            statement.execute();
            return String.valueOf(statement.getInt(2));
        }
    }

    // A connection that somebody kills says so, and can be had again.
    private static JSONArray killed(JSONObject target) throws Exception {
        String state = "still there";
        try (Connection victim = connect(target); Connection killer = connect(target)) {
            execute(killer, "KILL " + ask(victim, "SELECT CONNECTION_ID()"));
            try {
                ask(victim, "SELECT 1");
            } catch (SQLException error) {
                state = victim.isValid(10) ? error.getMessage() : "lost";
            }
        }
        try (Connection another = connect(target)) {
            return new JSONArray().put(state).put(ask(another, "SELECT 'again'"));
        }
    }
}
