/* key_file.c - making keys and keeping them (key.h). */
#include "auth/key.h"
#include "base/file.h"
#include "base/mem.h"
#include <stdio.h>

enum { ID_CHARS = 12, SECRET_CHARS = 32, FILE_LIMIT = 16 * 1024 * 1024 };

/* ---- making ------------------------------------------------------------------------ */

/* Lower-case base32 without look-alikes: five random bits a character. */
static void random_text(char *out, size_t n) {
    static const char alphabet[33] = "abcdefghjkmnpqrstuvwxyz234567890";
    uint8_t bytes[64];
    crypto_random(bytes, n);
    for (size_t i = 0; i < n; i++)
        out[i] = alphabet[bytes[i] & 31];
    out[n] = '\0';
}

void key_make(const uint8_t hmac_key[SHA256_SIZE], char text[KEY_TEXT], struct key_record *out,
              struct arena *a) {
    char id[ID_CHARS + 1], secret[SECRET_CHARS + 1];
    random_text(id, ID_CHARS);
    random_text(secret, SECRET_CHARS);
    snprintf(text, KEY_TEXT, "gs_%s_%s", id, secret);
    *out = (struct key_record){ .principal.id = arena_dup(a, str_of(id)), .created = clock_wall() };
    crypto_hmac(hmac_key, str_of(text), out->hmac);
    crypto_wipe(secret, sizeof secret);
}

/* The id of a key that carries one, else a name derived from its HMAC: never the secret. */
static struct str id_of(struct arena *a, struct str text, const uint8_t hmac[SHA256_SIZE]) {
    struct str rest = text;
    struct str mark = str_cut(&rest, '_'), id = str_cut(&rest, '_');
    if (str_eq(mark, S("gs")) && id.n == ID_CHARS && rest.p)
        return arena_dup(a, id);
    SCOPED(buf_done) struct buf hex = { 0 };
    hex_put(&hex, hmac, ID_CHARS / 2);
    return arena_dup(a, buf_view(&hex));
}

err_t key_adopt(const uint8_t hmac_key[SHA256_SIZE], struct str text, struct key_record *out,
                struct arena *a) {
    if (text.n < 16)
        return ERR(INVALID, "a key needs at least 16 characters; this one has %zu", text.n);
    if (text.n > 512)
        return ERR(INVALID, "a key has at most 512 characters");
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return ERR(INVALID, "a key has no spaces, control or non-ASCII characters");
    *out = (struct key_record){ .created = clock_wall() };
    crypto_hmac(hmac_key, text, out->hmac);
    out->principal.id = id_of(a, text, out->hmac);
    return OK;
}

/* ---- keys.json --------------------------------------------------------------------- */

struct key_row { /* one key as the file has it */
    struct str id, name, tenant, hmac;
    int64_t created, expires_ms, revoked_ms;
    bool admin;
    struct str_list profiles, allow, deny;
    struct rate rate;
    double burst;
};

#define T struct key_row
static const struct field key_rows[] = {
    FIELD(T, id, STR, NULL, "1..64", FIELD_REQUIRED, "Public part of the key."),
    FIELD(T, name, STR, NULL, "..128", 0, "What people call it."),
    FIELD(T, tenant, STR, "default", "..64", 0, "Tenant it belongs to."),
    FIELD(T, hmac, STR, NULL, "64..64", FIELD_REQUIRED, "HMAC-SHA-256 of the whole key, in hexadecimal."),
    FIELD(T, created, INT, "0", NULL, 0, "Seconds since 1970."),
    FIELD(T, expires_ms, INT, "0", NULL, 0, "Milliseconds since 1970; 0: never."),
    FIELD(T, revoked_ms, INT, "0", NULL, 0, "Milliseconds since 1970; 0: it is not."),
    FIELD(T, admin, BOOL, "false", NULL, 0, "May use the administration surface."),
    FIELD(T, profiles, STRS, NULL, NULL, 0, "Profiles it may use."),
    FIELD(T, allow, STRS, NULL, NULL, 0, "Globs it may see and call."),
    FIELD(T, deny, STRS, NULL, NULL, 0, "Globs it may not."),
    FIELD(T, rate, RATE, "off", NULL, 0, "Calls it may make."),
    FIELD(T, burst, DOUBLE, "0", NULL, 0, "Calls it may make at once."),
};
#undef T

struct key_list {
    struct item_list keys;
};
static const struct field list_rows[] = {
    FIELD_NEST(struct key_list, keys, LIST, key_rows, struct key_row, 0, "All keys."),
};

static err_t take_row(const struct key_row *row, struct key_record *out) {
    *out = (struct key_record){
        .principal = { .id = row->id, .name = row->name, .tenant = row->tenant,
                       .grants = { .profiles = row->profiles, .allow = row->allow, .deny = row->deny,
                                   .admin = row->admin, .rate = row->rate, .burst = row->burst } },
        .created = row->created * NANOS_SEC,
        .expires = row->expires_ms * NANOS_MS, .revoked = row->revoked_ms * NANOS_MS,
    };
    return hex_get(row->hmac, out->hmac, SHA256_SIZE)
               ? OK
               : ERR(INVALID, "key %.*s: hmac is not hexadecimal", STR(row->id));
}

err_t key_record_read(struct arena *a, json document, struct key_record *out) {
    struct key_row row = { 0 };
    struct field_problems problems = { .arena = a };
    field_defaults(key_rows, ARRAY_SIZE(key_rows), &row, a);
    field_read(key_rows, ARRAY_SIZE(key_rows), document, S(""), &row, a, &problems);
    TRY(field_problems_err(&problems));
    return take_row(&row, out);
}

err_t key_file_read(struct arena *a, struct str path, struct key_record **out, size_t *out_n) {
    SCOPED(buf_done) struct buf text = { 0 };
    bool missing = false;
    TRY(file_read(path, FILE_LIMIT, &text, &missing));
    *out = NULL;
    *out_n = 0;
    if (missing)
        return OK;
    json document;
    struct key_list list = { 0 };
    struct field_problems problems = { .arena = a };
    TRY_WRAP(json_parse(a, arena_dup(a, buf_view(&text)), (struct json_limits){ 0 }, &document),
             "%.*s", STR(path));
    field_read(list_rows, ARRAY_SIZE(list_rows), document, S(""), &list, a, &problems);
    TRY_WRAP(field_problems_err(&problems), "%.*s", STR(path));
    *out = ARENA_ARRAY(a, struct key_record, list.keys.n + 1);
    for (size_t i = 0; i < list.keys.n; i++)
        TRY_WRAP(take_row(&((struct key_row *)list.keys.items)[i], &(*out)[i]), "%.*s", STR(path));
    *out_n = list.keys.n;
    return OK;
}

/* Rather too early than too late; 0 alone means never. */
static int64_t milliseconds(nanos wall) {
    return wall > 0 && wall < NANOS_MS ? 1 : wall / NANOS_MS;
}

void key_record_write(struct jw *w, const struct key_record *r) {
    SCOPED(buf_done) struct buf hex = { 0 };
    hex_put(&hex, r->hmac, SHA256_SIZE);
    const struct grants *g = &r->principal.grants;
    struct key_row row = {
        .id = r->principal.id, .name = r->principal.name,
        .tenant = r->principal.tenant.n ? r->principal.tenant : S("default"), .hmac = buf_view(&hex),
        .created = r->created / NANOS_SEC,
        .expires_ms = milliseconds(r->expires), .revoked_ms = milliseconds(r->revoked),
        .admin = g->admin, .profiles = g->profiles, .allow = g->allow,
        .deny = g->deny, .rate = g->rate, .burst = g->burst,
    };
    field_write(key_rows, ARRAY_SIZE(key_rows), &row, w);
}

err_t key_file_write(struct str path, const struct key_record *records, size_t n) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    jw_object(&w);
    jw_key(&w, S("keys"));
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        key_record_write(&w, &records[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    buf_char(&text, '\n');
    return file_write(path, buf_view(&text));
}

err_t master_key_load(struct str path, uint8_t out[SHA256_SIZE], bool *made) {
    SCOPED(buf_done) struct buf text = { 0 };
    bool missing = false;
    TRY(file_read(path, FILE_LIMIT, &text, &missing));
    *made = missing;
    if (!missing) {
        bool ok = text.n == SHA256_SIZE;
        if (ok)
            memcpy(out, text.p, SHA256_SIZE);
        crypto_wipe(text.p, text.n);
        return ok ? OK
                  : ERR(INVALID, "%.*s is not a key file of ours: %d bytes are expected", STR(path),
                        SHA256_SIZE);
    }
    crypto_random(out, SHA256_SIZE);
    return file_write(path, str_from((const char *)out, SHA256_SIZE));
}
