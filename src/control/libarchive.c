/* libarchive.c - see libarchive.h. */
#include "control/libarchive.h"

#define SONAME "libarchive.so.13"

LIBARCHIVE_FUNCTIONS(LAZY_DEFINE)
static const struct lazy_symbol symbols[] = { LIBARCHIVE_FUNCTIONS(LAZY_ROW) };
struct lazy_library libarchive_library = LAZY_LIBRARY(SONAME, "libarchive13", symbols);
LAZY_NOTE("archive", "backup and restore", SONAME);
