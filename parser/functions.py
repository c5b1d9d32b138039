"""What is known of functions by name: which are built in, and what they do besides computing a value.

Names: MySQL 8.4 Reference Manual, "Functions and Operators"; MariaDB Knowledge Base, "Function and Operator Reference"
(10.11). Whatever is not here may be a stored or loadable function, which may do anything.
"""

from __future__ import annotations

from parser.statement import Effect
from parser.vocabulary import vocabulary

_NOTHING_SPECIAL = """
abs acos adddate addtime aes_decrypt aes_encrypt aggregate_functions any_value area asbinary ascii asin astext aswkb
aswkt atan atan2 avg benchmark bin bin_to_uuid binary binlog_gtid_pos bit_and bit_count bit_length bit_or bit_xor
boundary buffer cast ceil ceiling centroid char char_length character_length charset chr coalesce coercibility
collation column_add column_check column_create column_delete column_exists column_get column_json column_list
compress concat concat_ws contains conv convert convert_tz convexhull cos cot count crc32 crc32c crosses cume_dist
date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear decode decode_histogram
decode_oracle default degrees dense_rank des_decrypt des_encrypt dimension disjoint distance div elt encode encrypt
endpoint envelope equals exists exp export_set exteriorring extract extractvalue field find_in_set first_value floor
format format_bytes format_pico_time from_base64 from_days from_unixtime geomcollfromtext geomcollfromwkb
geometrycollection geometrycollectionfromtext geometrycollectionfromwkb geometryfromtext geometryfromwkb geometryn
geometrytype geomfromtext geomfromwkb get_format glength greatest group_concat grouping gtid_subset gtid_subtract hex
hour if ifnull in inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr interiorringn intersects interval is_ipv4
is_ipv4_compat is_ipv4_mapped is_ipv6 is_uuid isclosed isempty isnull isring issimple json_array json_array_append
json_array_insert json_array_intersect json_arrayagg json_compact json_contains json_contains_path json_depth
json_detailed json_equals json_exists json_extract json_insert json_key_value json_keys json_length json_loose
json_merge json_merge_patch json_merge_preserve json_normalize json_object json_object_filter_keys
json_object_to_array json_objectagg json_overlaps json_pretty json_query json_quote json_remove json_replace
json_schema_valid json_schema_validation_report json_search json_set json_storage_free json_storage_size json_table
json_type json_unquote json_unquote json_valid json_value kdf lag last_day last_value lastval lcase lead least left
length lengthb like line linefromtext linefromwkb linestring linestringfromtext linestringfromwkb ln locate log log10
log2 lower lpad lpad_oracle ltrim ltrim_oracle make_set makedate maketime match max mbrcontains mbrcoveredby mbrcovers
mbrdisjoint mbrequal mbrequals mbrintersects mbroverlaps mbrtouches mbrwithin md5 median member microsecond mid min
minute mlinefromtext mlinefromwkb mod month monthname mpointfromtext mpointfromwkb mpolyfromtext mpolyfromwkb
multilinestring multilinestringfromtext multilinestringfromwkb multipoint multipointfromtext multipointfromwkb
multipolygon multipolygonfromtext multipolygonfromwkb name_const natural_sort_key not nth_value ntile nullif
numgeometries numinteriorrings numpoints nvl nvl2 oct octet_length old_password ord overlaps password percent_rank
percentile_cont percentile_disc period_add period_diff point pointfromtext pointfromwkb pointn pointonsurface
polyfromtext polyfromwkb polygon polygonfromtext polygonfromwkb position pow power quarter quote radians rank
regexp_instr regexp_like regexp_replace regexp_substr release repeat replace replace_oracle reverse right rlike round
row row_number rpad rpad_oracle rtrim rtrim_oracle schema_name sec_to_time second sformat sha sha1 sha2 sign sin
soundex space sqrt srid st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_boundary st_buffer
st_buffer_strategy st_centroid st_collect st_contains st_convexhull st_crosses st_difference st_dimension st_disjoint
st_distance st_distance_sphere st_endpoint st_envelope st_equals st_exteriorring st_frechetdistance st_geohash
st_geomcollfromtext st_geomcollfromtxt st_geomcollfromwkb st_geometrycollectionfromtext st_geometrycollectionfromwkb
st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype st_geomfromgeojson st_geomfromtext st_geomfromwkb
st_hausdorffdistance st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple
st_isvalid st_latfromgeohash st_latitude st_length st_linefromtext st_linefromwkb st_lineinterpolatepoint
st_lineinterpolatepoints st_linestringfromtext st_linestringfromwkb st_longfromgeohash st_longitude st_makeenvelope
st_mlinefromtext st_mlinefromwkb st_mpointfromtext st_mpointfromwkb st_mpolyfromtext st_mpolyfromwkb
st_multilinestringfromtext st_multilinestringfromwkb st_multipointfromtext st_multipointfromwkb
st_multipolygonfromtext st_multipolygonfromwkb st_numgeometries st_numinteriorring st_numinteriorrings st_numpoints
st_overlaps st_pointatdistance st_pointfromgeohash st_pointfromtext st_pointfromwkb st_pointn st_pointonsurface
st_polyfromtext st_polyfromwkb st_polygonfromtext st_polygonfromwkb st_relate st_simplify st_srid st_startpoint
st_swapxy st_symdifference st_touches st_transform st_union st_validate st_within st_x st_y startpoint
statement_digest statement_digest_text std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr
substr_oracle substring substring_index subtime sum tan time time_format time_to_sec timediff timestamp timestampadd
timestampdiff to_base64 to_char to_date to_days to_number to_seconds touches trim trim_oracle truncate ucase
uncompress uncompressed_length unhex updatexml upper uuid_to_bin validate_password_strength value values var_pop
var_samp variance vec_distance vec_distance_cosine vec_distance_euclidean vec_fromtext vec_totext vector_dim week
weekday weekofyear weight_string within wsrep_last_seen_gtid x y year yearweek
"""

# Their value is not a function of the statement's text and the data alone.
_NONDETERMINISTIC = """
connection_id current_date current_role current_time current_timestamp current_user curdate curtime database
found_rows last_insert_id localtime localtimestamp now rand random_bytes roles_graphml row_count schema session_user
sleep sys_guid sysdate system_user unix_timestamp user utc_date utc_time utc_timestamp uuid uuid_short version
icu_version benchmark rownum ps_current_thread_id ps_thread_id master_gtid_wait master_pos_wait source_pos_wait
wait_for_executed_gtid_set wait_until_sql_thread_after_gtids wsrep_last_written_gtid wsrep_sync_wait_upto_gtid
get_lock is_free_lock is_used_lock release_lock release_all_locks load_file nextval lastval setval
binlog_gtid_pos default encrypt wsrep_last_seen_gtid
"""

_SLEEPING = """
sleep benchmark master_gtid_wait master_pos_wait source_pos_wait wait_for_executed_gtid_set
wait_until_sql_thread_after_gtids wsrep_sync_wait_upto_gtid
"""

_LOCKING = "get_lock"

# They ask the server, but leave nothing behind on the connection: a lock to release is on a connection that is pinned.
_ABOUT_LOCKS = "is_free_lock is_used_lock release_lock release_all_locks"

EFFECTS: dict[str, Effect] = dict.fromkeys(_NOTHING_SPECIAL.split(), Effect.NONE)


def _add(names: str, effect: Effect) -> None:
    for name in names.split():
        EFFECTS[name] = EFFECTS.get(name, Effect.NONE) | effect


_add(_NONDETERMINISTIC, Effect.NONDETERMINISTIC)
_add(_SLEEPING, Effect.SLEEPS)
_add(_LOCKING, Effect.SESSION_LOCK)
_add(_ABOUT_LOCKS, Effect.READS_SYSTEM_VARIABLE)
_add("last_insert_id", Effect.USES_LAST_INSERT_ID)
_add("found_rows", Effect.USES_FOUND_ROWS)
_add("row_count", Effect.USES_ROW_COUNT)
_add("connection_id ps_current_thread_id", Effect.USES_CONNECTION_ID)
_add("nextval lastval setval", Effect.SEQUENCE)
_add("nextval setval", Effect.WRITES)

_add("addtime maketime sec_to_time str_to_date subtime time timediff", Effect.MAKES_TIME)

WITHOUT_PARENTHESES = frozenset(
    [
        "current_date",
        "current_time",
        "current_timestamp",
        "current_user",
        "current_role",
        "localtime",
        "localtimestamp",
        "utc_date",
        "utc_time",
        "utc_timestamp",
    ]
)

AGGREGATES = vocabulary("""
    avg bit_and bit_or bit_xor count group_concat json_arrayagg json_objectagg max min median percentile_cont
    percentile_disc std stddev stddev_pop stddev_samp st_collect sum var_pop var_samp variance
""")

VARIABLE_EFFECTS = {
    "last_insert_id": Effect.USES_LAST_INSERT_ID,
    "identity": Effect.USES_LAST_INSERT_ID,
    "insert_id": Effect.USES_LAST_INSERT_ID,
    "pseudo_thread_id": Effect.USES_CONNECTION_ID,
    "warning_count": Effect.USES_DIAGNOSTICS,
    "error_count": Effect.USES_DIAGNOSTICS,
    "timestamp": Effect.NONDETERMINISTIC,
    "rand_seed1": Effect.NONDETERMINISTIC,
    "rand_seed2": Effect.NONDETERMINISTIC,
}

# Words that may stand before "(" without calling anything.
NOT_CALLS = vocabulary("""
    add after all alter analyze and any as asc before between bigint binary bit blob by call case change char
    character check column columns constraint create cross cube date datetime decimal dec delete desc describe
    distinct distinctrow double drop duplicate else end enum except escape exists explain fields first fixed float
    for force foreign from fulltext generated global group having hash ignore in index inner insert int integer
    intersect into is join key keys lateral left less like limit linear lines list lock longblob longtext match
    materialized mediumblob mediumint mediumtext middleint minus natural nchar no not null numeric nvarchar of
    offset on or order outer over partition partitions precision primary procedure range read real references regexp
    rename replace returning right rlike rollup row rows select set shared smallint some spatial sql straight_join
    subpartition system_time table tables text than then time timestamp tinyblob tinyint tinytext to union unique
    update use using value values varbinary varchar varying when where window with write xor year against default
    separator mod div json return do while until if elseif repeat loop interval collate charset outfile dumpfile
""")


def of_call(name: str) -> Effect:
    """What calling the function does, beyond reading its arguments."""
    return EFFECTS.get(name.lower(), Effect.UNKNOWN_FUNCTION)
