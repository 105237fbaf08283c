/* fiber.c - see fiber.h. The C symbols are those of libboost_context (Boost.Context,
 * "fcontext_t"); its headers wrap them in C++, so they are declared here. */
#include "run/fiber.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#elif __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

struct transfer {
    void *from; /* the context that jumped here */
    void *data;
};
extern struct transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *top, size_t size, void (*fn)(struct transfer));

/* ---- what the tools are told ------------------------------------------------------ */

/* Inlined without fail: TSan counts calls and returns, on the stack that it was told of. */
#define INLINE static inline __attribute__((always_inline))

INLINE void tell_entering(struct fiber *f) {
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&f->home->shadow, f->low, f->size);
#endif
#ifdef WITH_TSAN
    f->home->shadow = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->shadow, 0);
#endif
}

INLINE void tell_entered(struct fiber *f) {
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(f->shadow, &f->home->low, &f->home->size);
#endif
}

/* `last`: ASan frees the fake stack of a fiber that will not be entered again. */
INLINE void tell_leaving(struct fiber *f, bool last) {
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(last ? NULL : &f->shadow, f->home->low, f->home->size);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(f->home->shadow, 0);
#endif
    (void)last;
}

INLINE void tell_left(struct fiber *f) {
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(f->home->shadow, NULL, NULL);
#endif
}

static void tell_born(struct fiber *f) {
#ifdef WITH_TSAN
    f->shadow = __tsan_create_fiber(0);
#endif
#ifdef HAVE_VALGRIND
    f->registered = VALGRIND_STACK_REGISTER(f->low, f->low + f->size);
#endif
}

static void tell_gone(struct fiber *f) {
#ifdef WITH_TSAN
    __tsan_destroy_fiber(f->shadow);
#endif
#ifdef HAVE_VALGRIND
    VALGRIND_STACK_DEREGISTER(f->registered);
#endif
}

/* ---- stacks ----------------------------------------------------------------------- */

static size_t page_size(void) {
    static size_t size;
    size_t known = __atomic_load_n(&size, __ATOMIC_RELAXED);
    if (!known) {
        known = (size_t)sysconf(_SC_PAGESIZE);
        __atomic_store_n(&size, known, __ATOMIC_RELAXED);
    }
    return known;
}

void *fiber_map(size_t size) {
    const size_t guard = page_size();
    assert(size % guard == 0);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE;
    char *base = mmap(NULL, size + guard, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mprotect(base, guard, PROT_NONE) != 0) { /* a second mapping: max_map_count */
        munmap(base, size + guard);
        return NULL;
    }
    return base + guard;
}

void fiber_unmap(void *low, size_t size) {
    const size_t guard = page_size();
    munmap((char *)low - guard, size + guard);
}

/* ---- switching -------------------------------------------------------------------- */

static void fiber_main(struct transfer in) {
    struct fiber *f = in.data;
    tell_entered(f);
    f->home->context = in.from;
    f->fn(f);
    tell_leaving(f, true);
    jump_fcontext(f->home->context, NULL);
    __builtin_unreachable();
}

void fiber_init(struct fiber *f, struct fiber_home *home, char *low, size_t size, fiber_fn *fn) {
    char *top = (char *)((uintptr_t)(low + size) & ~(uintptr_t)15);
    *f = (struct fiber){ .home = home, .fn = fn, .low = low, .size = size };
    f->context = make_fcontext(top, size, fiber_main);
    tell_born(f);
}

void fiber_done(struct fiber *f) {
    tell_gone(f);
}

void fiber_enter(struct fiber *f) {
    tell_entering(f);
    struct transfer back = jump_fcontext(f->context, f);
    f->context = back.from;
    tell_left(f);
}

void fiber_leave(struct fiber *f) {
    tell_leaving(f, false);
    struct transfer back = jump_fcontext(f->home->context, NULL);
    f->home->context = back.from;
    tell_entered(f);
}
