/* migrate.c - see migrate.h. tenant_id is in every table from the first step on; columns
 * named *_sealed hold values of store_seal (DESIGN decision 13). Times are nanoseconds since
 * 1970. */
#include "store/migrate.h"

const struct migration migrations[] = {
    { 1, "registry, keys' use, idempotency",
      "CREATE TABLE registry ("
      "  tenant_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, doc_sealed BLOB NOT NULL,"
      "  version INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,"
      "  PRIMARY KEY (tenant_id, kind, name)) WITHOUT ROWID;"
      "CREATE TABLE key_use ("
      "  tenant_id TEXT NOT NULL, key_id TEXT NOT NULL, last_used INTEGER NOT NULL,"
      "  PRIMARY KEY (tenant_id, key_id)) WITHOUT ROWID;"
      "CREATE TABLE idempotency ("
      "  tenant_id TEXT NOT NULL, key_id TEXT NOT NULL, idempotency_key TEXT NOT NULL,"
      "  route TEXT NOT NULL, digest BLOB NOT NULL,"
      "  status INTEGER NOT NULL," /* 0: still at work */
      "  type TEXT NOT NULL, body_sealed BLOB, expires INTEGER NOT NULL,"
      "  PRIMARY KEY (tenant_id, key_id, idempotency_key)) WITHOUT ROWID;"
      "CREATE INDEX idempotency_expires ON idempotency (expires);" },
    { 2, "history of calls",
      "CREATE TABLE history ("
      "  id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, at INTEGER NOT NULL,"
      "  tool TEXT NOT NULL, key_id TEXT NOT NULL, upstream TEXT NOT NULL, outcome TEXT NOT NULL,"
      "  key_name TEXT NOT NULL, method TEXT NOT NULL, error_code INTEGER NOT NULL,"
      "  duration INTEGER NOT NULL, request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL,"
      "  request_id TEXT NOT NULL, trace_id TEXT NOT NULL,"
      "  payload_sealed BLOB);"
      /* How far each journal file has been taken over: what makes a replay exactly once. */
      "CREATE TABLE journal ("
      "  tenant_id TEXT NOT NULL, file INTEGER NOT NULL, sequence INTEGER NOT NULL,"
      "  updated INTEGER NOT NULL, PRIMARY KEY (tenant_id, file)) WITHOUT ROWID;" },
};
const size_t migration_count = sizeof migrations / sizeof migrations[0];
