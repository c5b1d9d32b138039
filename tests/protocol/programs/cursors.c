/* Two cursors of one connection, read in turn, with Connector/C: port, user, password, database. Prints what it reads. */

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURSORS 2

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

int main(int argc, char **argv) {
    const char *texts[CURSORS] = {
        "SELECT id, name FROM items WHERE id > ? ORDER BY id",
        "SELECT id, CONCAT(name, '!') FROM items WHERE id > ? ORDER BY id DESC",
    };
    unsigned long cursor = CURSOR_TYPE_READ_ONLY, prefetch[CURSORS] = {1, 7};
    MYSQL *connection = mysql_init(NULL);
    MYSQL_STMT *statements[CURSORS];
    int least = 5, ids[CURSORS], left = CURSORS, round;
    char names[CURSORS][300];
    unsigned long lengths[CURSORS];
    if (argc != 5 || !mysql_real_connect(connection, "127.0.0.1", argv[2], argv[3], argv[4], atoi(argv[1]), NULL, 0))
        fail("connect", mysql_error(connection));
    for (round = 0; round < 3; round++) {
        left = CURSORS;
        for (int i = 0; i < CURSORS; i++) {
            MYSQL_BIND given = {0}, taken[2] = {{0}, {0}};
            statements[i] = mysql_stmt_init(connection);
            if (mysql_stmt_prepare(statements[i], texts[i], strlen(texts[i])))
                fail("prepare", mysql_stmt_error(statements[i]));
            mysql_stmt_attr_set(statements[i], STMT_ATTR_CURSOR_TYPE, &cursor);
            mysql_stmt_attr_set(statements[i], STMT_ATTR_PREFETCH_ROWS, &prefetch[i]);
            given.buffer_type = MYSQL_TYPE_LONG;
            given.buffer = &least;
            taken[0].buffer_type = MYSQL_TYPE_LONG;
            taken[0].buffer = &ids[i];
            taken[1].buffer_type = MYSQL_TYPE_STRING;
            taken[1].buffer = names[i];
            taken[1].buffer_length = sizeof names[i];
            taken[1].length = &lengths[i];
            if (mysql_stmt_bind_param(statements[i], &given) || mysql_stmt_execute(statements[i]) ||
                mysql_stmt_bind_result(statements[i], taken))
                fail("execute", mysql_stmt_error(statements[i]));
            printf("%lu cursor %d\n", mysql_stmt_field_count(statements[i]) + 0UL,
                   (connection->server_status & SERVER_STATUS_CURSOR_EXISTS) != 0);
        }
        while (left && !(round == 1 && ids[0] > 20)) { /* in one round they are closed early */
            left = 0;
            for (int i = 0; i < CURSORS; i++) {
                int found = mysql_stmt_fetch(statements[i]);
                if (found == 1)
                    fail("fetch", mysql_stmt_error(statements[i]));
                if (found == MYSQL_NO_DATA)
                    continue;
                left++;
                printf("%d: %d %.*s\n", i, ids[i], (int)lengths[i], names[i]);
            }
        }
        for (int i = 0; i < CURSORS; i++)
            mysql_stmt_close(statements[i]);
        if (mysql_query(connection, "SELECT 1"))
            fail("query", mysql_error(connection));
        mysql_free_result(mysql_store_result(connection));
    }
    mysql_close(connection);
    return 0;
}
