/* lazy.c - see lazy.h. `loaded` is set when the last pointer stands, so that who finds it set has
 * nothing to wait for. */
#include "base/lazy.h"
#include "base/mem.h"
#include <dlfcn.h>
#include <string.h>

static void unlock_scope(pthread_mutex_t **lock) {
    pthread_mutex_unlock(*lock);
}

static err_t missing(const struct lazy_library *l, const char *user, const char *why) {
    return ERR(UNAVAILABLE, "%s needs %s, which cannot be loaded (%s): install it (Debian: %s)",
               user, l->soname, why ? why : "no reason given", l->package);
}

static err_t load(struct lazy_library *l, const char *user) {
    /* Lazily bound, as it was with the program: else each of the libraries behind it looks up all
     * that it could ever call. */
    void *handle = dlopen(l->soname, RTLD_LAZY | RTLD_LOCAL);
    if (!handle)
        return missing(l, user, dlerror());
    for (size_t i = 0; i < l->count; i++) {
        void *function = dlsym(handle, l->symbols[i].name);
        if (!function) {
            err_t e = missing(l, user, dlerror());
            dlclose(handle);
            return e;
        }
        memcpy(l->symbols[i].slot, &function, sizeof function);
    }
    return OK;
}

err_t lazy_load(struct lazy_library *l, const char *user) {
    if (atomic_load_explicit(&l->loaded, memory_order_acquire))
        return OK;
    SCOPED(unlock_scope) pthread_mutex_t *lock = &l->lock;
    pthread_mutex_lock(lock);
    if (atomic_load_explicit(&l->loaded, memory_order_relaxed))
        return OK;
    TRY(load(l, user));
    atomic_store_explicit(&l->loaded, true, memory_order_release);
    return OK;
}
