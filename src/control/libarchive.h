/* libarchive.h - libarchive, loaded at the first backup or restore (base/lazy.h). */
#pragma once
#include "base/lazy.h"
#include <archive.h>
#include <archive_entry.h>

#define LIBARCHIVE_FUNCTIONS(X)                \
    X(archive_entry_filetype)                  \
    X(archive_entry_free)                      \
    X(archive_entry_hardlink)                  \
    X(archive_entry_new)                       \
    X(archive_entry_pathname)                  \
    X(archive_entry_set_filetype)              \
    X(archive_entry_set_mtime)                 \
    X(archive_entry_set_pathname)              \
    X(archive_entry_set_perm)                  \
    X(archive_entry_set_size)                  \
    X(archive_errno)                           \
    X(archive_error_string)                    \
    X(archive_read_data)                       \
    X(archive_read_free)                       \
    X(archive_read_new)                        \
    X(archive_read_next_header)                \
    X(archive_read_open_fd)                    \
    X(archive_read_support_format_tar)         \
    X(archive_version_string)                  \
    X(archive_write_close)                     \
    X(archive_write_data)                      \
    X(archive_write_free)                      \
    X(archive_write_header)                    \
    X(archive_write_new)                       \
    X(archive_write_open_fd)                   \
    X(archive_write_set_format_pax_restricted)

LIBARCHIVE_FUNCTIONS(LAZY_DECLARE)
extern struct lazy_library libarchive_library;
