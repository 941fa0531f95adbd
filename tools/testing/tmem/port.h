/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: the user-space port, for its tests and its benchmark.
 *
 * What the engine asks of any port: lib/tmem/contract.h.  Two builds: under a
 * sanitizer every allocation is a malloc() of its own, so that no bug hides in
 * an allocator; the native build, which is measured, has a slab allocator like
 * a kernel's.
 */
#ifndef PORT_H
#define PORT_H

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE		4096ul
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define ____cacheline_aligned	__attribute__((aligned(64)))
#define OPTIMIZER_HIDE_VAR(v)	__asm__("" : "+r" (v))
#define EXPORT_SYMBOL_GPL(sym)	struct sym
#define noinline		__attribute__((noinline))
#define PAGE_SHIFT		12

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* Errors in pointers */
#define ERR_PTR(err)		((void *)(long)(err))
#define IS_ERR(ptr)		((unsigned long)(ptr) >= -4095ul)
#define PTR_ERR_OR_ZERO(ptr)	(IS_ERR(ptr) ? (int)(long)(ptr) : 0)

/* A warning is a failure of the test, unless the test asked for it */
extern int port_warnings;
#define WARN_ON_ONCE(cond) ({						\
	bool cond_ = (cond);						\
	if (cond_)							\
		__atomic_add_fetch(&port_warnings, 1, __ATOMIC_RELAXED); \
	cond_; })

/* Memory accesses and atomics */
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
/* Barriers: the callers say what for */
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
/* as above */
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)

typedef struct { long v; } atomic_long_t;
#ifdef PORT_NATIVE
#define atomic_long_read(a)	READ_ONCE((a)->v)
#else
/* How often this thread has read one: to look at a client takes that */
extern __thread unsigned long port_reads;
#define atomic_long_read(a)	(port_reads++, READ_ONCE((a)->v))
#endif
#define atomic_long_set(a, n)	WRITE_ONCE((a)->v, n)
#define atomic_long_add_return(n, a) \
	__atomic_add_fetch(&(a)->v, n, __ATOMIC_SEQ_CST)
#define atomic_long_add(n, a)	((void)atomic_long_add_return(n, a))
#define atomic_long_inc(a)	((void)atomic_long_add_return(1, a))

/*
 * Spinlocks.  The holder of one may not be running, so wait by yielding.  Under
 * a sanitizer a lock knows its holder, which has to be this thread where the
 * engine says that it holds the lock.
 */
#define cpu_relax()		sched_yield()

extern __thread char port_self;

#ifdef PORT_NATIVE
typedef struct { int v; } spinlock_t;

static inline void port_set_holder(spinlock_t *lock, const void *holder)
{
}

#define lockdep_assert_held(lock)	((void)(lock))
#else
typedef struct { int v; const void *holder; } spinlock_t;

static inline void port_set_holder(spinlock_t *lock, const void *holder)
{
	WRITE_ONCE(lock->holder, holder);
}

#define lockdep_assert_held(lock) \
	assert(READ_ONCE((lock)->holder) == &port_self)
#endif

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->v = 0;
	port_set_holder(lock, NULL);
}

static inline bool spin_trylock(spinlock_t *lock)
{
	bool taken = !READ_ONCE(lock->v) &&
		     !__atomic_exchange_n(&lock->v, 1, __ATOMIC_ACQUIRE);

	if (taken)
		port_set_holder(lock, &port_self);
	return taken;
}

static inline void spin_lock(spinlock_t *lock)
{
	int spins = 0;

	while (!spin_trylock(lock))
		if (++spins % 1024 == 0)
			cpu_relax();
}

static inline void spin_unlock(spinlock_t *lock)
{
	port_set_holder(lock, NULL);
	__atomic_store_n(&lock->v, 0, __ATOMIC_RELEASE);
}

/* Lists */
struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD(name)		struct list_head name = { &name, &name }

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list;
	list->prev = list;
}

static inline void list_add_tail(struct list_head *entry,
				 struct list_head *list)
{
	entry->next = list;
	entry->prev = list->prev;
	list->prev->next = entry;
	list->prev = entry;
}

static inline void list_del(struct list_head *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
}

static inline void list_del_init(struct list_head *entry)
{
	list_del(entry);
	INIT_LIST_HEAD(entry);
}

static inline bool list_empty(const struct list_head *list)
{
	return list->next == list;
}

#define list_entry(ptr, type, member)	container_of(ptr, type, member)
/* Not by &pos->member: the head is in no entry, and not aligned as there */
#define list_at_head(pos, list, member)					\
	((pos) == list_entry(list, typeof(*(pos)), member))
#define list_for_each_entry(pos, list, member)				\
	for (pos = list_entry((list)->next, typeof(*pos), member);	\
	     !list_at_head(pos, list, member);				\
	     pos = list_entry(pos->member.next, typeof(*pos), member))
#define list_for_each_entry_safe(pos, n, list, member)			\
	for (pos = list_entry((list)->next, typeof(*pos), member),	\
	     n = list_entry(pos->member.next, typeof(*pos), member);	\
	     !list_at_head(pos, list, member);				\
	     pos = n, n = list_entry(n->member.next, typeof(*n), member))

/*
 * What the engine asks of a port
 */
#include "contract.h"

int tme_port_init(const size_t size[PORT_CACHES]);
void tme_port_exit(void);
void tme_port_random(void *buf, size_t len);
bool tme_port_should_stop(void);
#define tme_port_short()	port_memory_short
#define tme_port_keep_raw()	(!port_raw_useless)

void *tme_port_zalloc(size_t size);
void tme_port_free(void *p);

struct port_arena;
void *tme_port_cache_alloc(struct port_arena *arena, enum port_cache cache,
			   long *bytes);
long tme_port_cache_free(struct port_arena *arena, enum port_cache cache,
			 void *p);

unsigned long tme_port_frame_alloc(bool pers);
void tme_port_frame_free(unsigned long frame);
static inline void *tme_port_frame_map(unsigned long frame)
{
	return (void *)frame;
}

static inline void tme_port_frame_unmap(void *p)
{
}

struct port_arena *tme_port_arena_create(void);
void tme_port_arena_destroy(struct port_arena *arena);
unsigned long tme_port_slot_alloc(struct port_arena *arena, const void *src,
				  unsigned int len, bool pers);
void tme_port_slot_free(struct port_arena *arena, unsigned long slot);
long tme_port_slot_frames(struct port_arena *arena);
static inline void *tme_port_slot_map(struct port_arena *arena,
				      unsigned long slot)
{
	return (void *)slot;
}

static inline void tme_port_slot_unmap(struct port_arena *arena,
				       unsigned long slot)
{
}

/* A compressor's memory, one per thread */
struct port_scratch {
	char buf[PAGE_SIZE];
	char work[16416] __attribute__((aligned(8)));
};

struct port_scratch *tme_port_scratch_get(void);

static inline void tme_port_scratch_put(struct port_scratch *scratch)
{
}

int tme_port_compress(struct port_scratch *scratch, const void *src,
		      unsigned int max);
int tme_port_decompress(const void *src, unsigned int len, void *dst);

/*
 * For the tests.
 */
extern long port_allocated;		/* allocations that were not freed */
extern long port_bytes;			/* of what the engine counts itself */
extern long port_allocs;		/* allocations that were tried */
extern long port_fail_at;		/* the one to fail, if > 0 */
extern long port_fail_every;		/* each of this number fails, if > 0 */
extern bool port_memory_short;		/* evict, for the host has no memory */
extern bool port_raw_useless;		/* a frame gains nothing */
extern bool (*port_stop)(void);		/* what tme_port_should_stop() asks */
extern bool port_meta_free;		/* metadata is not counted */
extern bool port_corrupt;		/* fail every decompression */
extern bool port_keep_spans;		/* memory of slots stays until ... */
void port_compact(struct port_arena *arena);	/* ... this */
extern void (*port_reading)(void);	/* called by every decompression */
extern void (*port_writing)(void);	/* called by every compression */

#endif /* PORT_H */
