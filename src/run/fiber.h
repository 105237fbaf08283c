/* fiber.h - stacks, and the switch between the loop's stack and a fiber's.
 *
 * A thin skin over Boost's jump_fcontext and make_fcontext, which announces each switch
 * to ASan and TSan and each stack to Valgrind. A fiber is entered from the loop's stack
 * only and always leaves to it.
 *
 * Threads  a fiber stays on the thread of its home
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* The thread's own stack, one for each worker; zero-initialised. */
struct fiber_home {
    void *context; /* where the loop goes on; valid while a fiber runs */
    void *shadow;  /* ASan: fake stack; TSan: its name for this thread */
    const void *low;
    size_t size;
};

struct fiber;
typedef void fiber_fn(struct fiber *f);

struct fiber {
    void *context; /* where it goes on; valid while it is left */
    struct fiber_home *home;
    fiber_fn *fn;
    void *shadow; /* ASan: fake stack; TSan: its name for this fiber */
    char *low;
    size_t size;
    unsigned registered; /* Valgrind's name for the stack */
};

/* Memory for a stack, with a guard page below it: the lowest usable byte, or NULL when
 * the system has no more mappings. `size` is a multiple of the page size. */
void *fiber_map(size_t size);
void fiber_unmap(void *low, size_t size);

/* fn starts at the first fiber_enter, on the `size` bytes from `low` on. */
void fiber_init(struct fiber *f, struct fiber_home *home, char *low, size_t size, fiber_fn *fn);
/* Ends the life of a fiber whose fn has returned. */
void fiber_done(struct fiber *f);

void fiber_enter(struct fiber *f); /* returns when the fiber leaves or its fn returns */
void fiber_leave(struct fiber *f);
