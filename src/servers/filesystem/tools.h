/* tools.h - the tables of tools, one for each file that has their functions, and what their
 * rows have in common. */
#pragma once
#include "servers/filesystem/fs.h"

#define PATH_HELP                                                                                  \
    "Path that begins with a root's name (list_roots), such as files/notes.txt, or an absolute "   \
    "path below a root."

extern const struct tool_table fs_read_table, fs_write_table, fs_edit_table, fs_list_table,
    fs_tree_table, fs_move_table, fs_search_table;
