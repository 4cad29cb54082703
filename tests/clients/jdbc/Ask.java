import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Calendar;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.TimeZone;

/**
 * A JDBC program that does what its input says, a line a step, and prints a line for each.
 *
 * Takes: a URL, a user, a password; steps on standard input, their parts parted by tabs. Gives:
 * rows parted by U+001E, their values by U+001F; an error as "!" and its text. Never goes on with
 * a connection that a step has lost: the next one says so.
 */
public class Ask {
    private static final String ROW = "\u001e";
    private static final String VALUE = "\u001f";
    private static final Calendar UTC = Calendar.getInstance(TimeZone.getTimeZone("UTC"));

    private final Connection connection;

    private Ask(Connection connection) {
        this.connection = connection;
    }

    public static void main(String[] arguments) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        Properties known = new Properties();
        known.put("user", arguments[1]);
        known.put("password", arguments[2]);
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Connection connection = DriverManager.getConnection(arguments[0], known)) {
            Ask ask = new Ask(connection);
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                out.println("answer\t" + ask.step(line.split("\t", -1)));
            }
        }
        System.exit(0);
    }

    private String step(String[] parts) {
        try {
            switch (parts[0]) {
                case "metadata": return everything();
                case "call": return call(parts);
                case "query": return query(parts[1], 0);
                case "shape": return shape(parts[1]);
                case "timeout": return query(parts[2], Integer.parseInt(parts[1]));
                case "cancel": return cancelled(parts[2], Long.parseLong(parts[1]));
                case "leave": return leave(parts[1]);
                case "prepare": return prepared(parts);
                case "parameters": return parameters(parts[1]);
                case "page": return page(parts[2], Integer.parseInt(parts[1]));
                case "portal": return portal(parts[2], Integer.parseInt(parts[1]));
                case "update": return update(parts[1]);
                case "batch": return batch(parts[1]);
                case "settle": return settle();
                default: return "!no such step " + parts[0];
            }
        } catch (InvocationTargetException error) {
            return told(error.getCause());
        } catch (Throwable error) {
            return told(error);
        }
    }

    private static String told(Throwable error) {
        String state = error instanceof SQLException ? ((SQLException) error).getSQLState() : "";
        String text = error.getClass().getSimpleName() + " " + state + " " + error.getMessage();
        return "!" + text.replaceAll("\\s+", " ");
    }

    /** Every method of DatabaseMetaData without arguments; result sets as the number of rows. */
    private String everything() throws Exception {
        DatabaseMetaData data = connection.getMetaData();
        List<String> rows = new ArrayList<>();
        for (Method method : DatabaseMetaData.class.getMethods()) {
            if (method.getParameterCount() > 0) continue;
            if (method.getDeclaringClass() != DatabaseMetaData.class) continue;
            String value;
            try {
                Object found = method.invoke(data);
                value = found instanceof ResultSet ? "" + count((ResultSet) found) : "" + found;
            } catch (InvocationTargetException error) {
                value = told(error.getCause());
            }
            rows.add(method.getName() + VALUE + value);
        }
        return String.join(ROW, rows);
    }

    private static int count(ResultSet found) throws SQLException {
        int rows = 0;
        while (found.next()) rows++;
        found.close();
        return rows;
    }

    /** A method of DatabaseMetaData whose arguments are texts, booleans and lists of texts. */
    private String call(String[] parts) throws Exception {
        Object[] arguments = new Object[parts.length - 2];
        for (int i = 0; i < arguments.length; i++) {
            String text = parts[i + 2];
            arguments[i] = text.equals("null") ? null
                : text.equals("true") || text.equals("false") ? (Object) Boolean.valueOf(text)
                : text.startsWith("[") ? text.substring(1, text.length() - 1).split(",")
                : text;
        }
        for (Method method : DatabaseMetaData.class.getMethods()) {
            if (!method.getName().equals(parts[1])) continue;
            if (method.getParameterCount() != arguments.length) continue;
            return rows((ResultSet) method.invoke(connection.getMetaData(), arguments));
        }
        return "!no such method " + parts[1];
    }

    private String query(String sql, int seconds) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            if (seconds > 0) statement.setQueryTimeout(seconds);
            return rows(statement.executeQuery(sql));
        }
    }

    private static String rows(ResultSet found) throws SQLException {
        int width = found.getMetaData().getColumnCount();
        List<String> rows = new ArrayList<>();
        while (found.next()) {
            List<String> values = new ArrayList<>();
            for (int i = 1; i <= width; i++) values.add(value(found, i));
            rows.add(String.join(VALUE, values));
        }
        found.close();
        return String.join(ROW, rows);
    }

    private static String value(ResultSet found, int place) throws SQLException {
        int type = found.getMetaData().getColumnType(place);
        Object value;
        if (type == Types.TIMESTAMP_WITH_TIMEZONE || type == Types.TIMESTAMP) {
            Timestamp moment = found.getTimestamp(place, UTC);
            value = moment == null ? null : moment.toLocalDateTime();
        } else if (type == Types.VARBINARY || type == Types.BINARY) {
            byte[] bytes = found.getBytes(place);
            value = bytes == null ? null : HexFormat.of().formatHex(bytes);
        } else {
            value = found.getObject(place);
        }
        return ("" + value).replaceAll("[\\t\\r\\n]", " ");
    }

    private String shape(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            ResultSetMetaData data = statement.executeQuery(sql).getMetaData();
            List<String> rows = new ArrayList<>();
            for (int i = 1; i <= data.getColumnCount(); i++) {
                rows.add(data.getColumnLabel(i) + VALUE + data.getColumnTypeName(i));
            }
            return String.join(ROW, rows);
        }
    }

    private String cancelled(String sql, long milliseconds) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(milliseconds);
                    statement.cancel();
                } catch (Exception error) {
                    throw new RuntimeException(error);
                }
            });
            canceller.start();
            try {
                return rows(statement.executeQuery(sql));
            } finally {
                canceller.join();
            }
        }
    }

    /** Read a thousand rows, then close. */
    private String leave(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            ResultSet found = statement.executeQuery(sql);
            int rows = 0;
            while (rows < 1000 && found.next()) rows++;
            return "" + rows;
        }
    }

    private String prepared(String[] parts) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(parts[1])) {
            List<String> answers = new ArrayList<>();
            // Sets of values for one statement are parted by an empty part.
            int place = 1;
            for (int i = 2; i <= parts.length; i++) {
                if (i == parts.length || parts[i].isEmpty()) {
                    answers.add(rows(statement.executeQuery()));
                    place = 1;
                } else {
                    bind(statement, place++, parts[i]);
                }
            }
            return String.join(ROW, answers);
        }
    }

    private static void bind(PreparedStatement statement, int place, String text)
            throws SQLException {
        String kind = text.substring(0, text.indexOf(':'));
        String value = text.substring(kind.length() + 1);
        switch (kind) {
            case "null": statement.setNull(place, Types.VARCHAR); break;
            case "boolean": statement.setBoolean(place, Boolean.parseBoolean(value)); break;
            case "int": statement.setInt(place, Integer.parseInt(value)); break;
            case "long": statement.setLong(place, Long.parseLong(value)); break;
            case "double": statement.setDouble(place, Double.parseDouble(value)); break;
            case "decimal": statement.setBigDecimal(place, new BigDecimal(value)); break;
            case "text": statement.setString(place, value); break;
            case "bytes": statement.setBytes(place, HexFormat.of().parseHex(value)); break;
            case "date": statement.setDate(place, Date.valueOf(value)); break;
            case "time": statement.setTime(place, Time.valueOf(value)); break;
            case "moment": statement.setTimestamp(place, Timestamp.valueOf(value)); break;
            default: throw new SQLException("no such kind of value: " + kind);
        }
    }

    private String parameters(String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            ParameterMetaData data = statement.getParameterMetaData();
            List<String> types = new ArrayList<>();
            for (int i = 1; i <= data.getParameterCount(); i++) {
                types.add("" + data.getParameterType(i));
            }
            return String.join(VALUE, types);
        }
    }

    private String page(String sql, int size) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(size);
            statement.setMaxRows(size);
            return "" + count(statement.executeQuery(sql));
        }
    }

    /** All rows, fetched so many at a time, which a driver may do within a transaction only. */
    private String portal(String sql, int size) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(size);
            return rows(statement.executeQuery(sql));
        } finally {
            connection.commit();
            connection.setAutoCommit(true);
        }
    }

    private String update(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return "" + statement.executeUpdate(sql);
        }
    }

    private String batch(String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setInt(1, 1);
            statement.addBatch();
            return "" + statement.executeBatch().length;
        }
    }

    private String settle() throws SQLException {
        connection.setAutoCommit(false);
        connection.commit();
        connection.setAutoCommit(true);
        return connection.isReadOnly() + VALUE + connection.isValid(5);
    }
}
