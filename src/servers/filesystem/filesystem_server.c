/* filesystem_server.c - see filesystem_server.h: the vtable, and which tools are allowed. */
#include "servers/filesystem/filesystem_server.h"
#include "servers/filesystem/fs.h"
#include "servers/filesystem/tools.h"
#include "servers/filesystem/watch.h"

/* The tool is there when any of these operations is allowed. */
static const struct {
    const char *tool;
    unsigned any_of;
} needs[] = {
    { "read_text", FS_READ },
    { "read_media", FS_READ },
    { "read_many", FS_READ },
    { "write", FS_WRITE },
    { "append", FS_WRITE },
    { "edit", FS_WRITE },
    { "create_directory", FS_WRITE },
    { "list_directory", FS_LIST },
    { "tree", FS_LIST },
    { "search", FS_LIST },
    { "stat", FS_READ | FS_LIST },
    { "list_roots", ~0u },
    { "delete", FS_DELETE },
    { "move", FS_MOVE },
    { "copy", FS_COPY },
};

static bool offers(void *self, const struct tool *tool) {
    const struct fs *fs = self;
    for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
        if (strcmp(needs[i].tool, tool->name) == 0)
            return !fs || (fs->allowed & needs[i].any_of);
    return false; /* a tool without a row here is a mistake, and closed */
}

static err_t open_server(const void *conf, const struct server_env *env, void **out_self) {
    struct fs *fs = NULL;
    TRY(fs_new(conf, env, &fs));
    *out_self = fs;
    return OK;
}

static void close_server(void *self) {
    fs_free(self);
}

static const struct server_resources *resources(void *self) {
    const struct fs *fs = self;
    bool some = fs->options->resources > 0 && (fs->allowed & FS_READ) && (fs->allowed & FS_LIST);
    return some ? &fs_resources : NULL;
}

static const struct tool_table *const tables[] = {
    &fs_read_table, &fs_list_table, &fs_tree_table, &fs_search_table,
    &fs_write_table, &fs_edit_table, &fs_move_table, NULL,
};

const struct server_ops filesystem_server = {
    .name = "filesystem",
    .title = "Files",
    .summary = "Files and directories below configured roots",
    .instructions = "Files below one or more roots. A path begins with the name of a root, as list_roots "
                    "shows them, such as files/notes/a.txt; absolute paths below a root are understood "
                    "too. \"..\" is not taken. Texts are UTF-8; read_media gives anything else. Large "
                    "files, directories and searches come in parts: read on where the answer says. edit "
                    "replaces exact text and shows the difference, dry_run shows it without changing.",
    .options = fs_option_rows,
    .option_count = FS_OPTIONS,
    .options_size = sizeof(struct fs_options),
    .tables = tables,
    .check = fs_check,
    .open = open_server,
    .close = close_server,
    .offers = offers,
    .resources = resources,
    .watch = fs_watch_wait,
};
