// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: the user-space port, see port.h.
 */
#define _GNU_SOURCE
#include <lz4.h>
#include <sys/mman.h>
#include <sys/random.h>
#include "port.h"

__thread char port_self;
#ifndef PORT_NATIVE
__thread unsigned long port_reads;
#endif
int port_warnings;
long port_allocated, port_bytes, port_allocs, port_fail_at, port_fail_every;
bool port_memory_short;
bool port_raw_useless;
bool (*port_stop)(void);
bool port_meta_free;
bool port_corrupt;
bool port_keep_spans;
void (*port_reading)(void);
void (*port_writing)(void);

/* Kinds of memory: the engine's caches, and what this port needs itself */
enum { FRAME = PORT_CACHES, SPAN, KINDS };

#define SPAN_FRAMES	4
#define SPAN_SIZE	(SPAN_FRAMES * PAGE_SIZE)

static size_t mem_size[KINDS] = { [FRAME] = PAGE_SIZE, [SPAN] = SPAN_SIZE };

int tme_port_init(const size_t size[PORT_CACHES])
{
	memcpy(mem_size, size, PORT_CACHES * sizeof(*size));
	return 0;
}

void tme_port_exit(void)
{
}

void tme_port_random(void *buf, size_t len)
{
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

bool tme_port_should_stop(void)
{
	return port_stop && port_stop();
}

#ifndef PORT_NATIVE
/* Each piece of memory on its own */
static bool should_fail(void)
{
	long n = __atomic_add_fetch(&port_allocs, 1, __ATOMIC_RELAXED);

	if (n == port_fail_at || (port_fail_every && n % port_fail_every == 0))
		return true;
	__atomic_add_fetch(&port_allocated, 1, __ATOMIC_RELAXED);
	return false;
}

static void count(int kind, int n)
{
	if (kind >= FRAME || !port_meta_free)
		__atomic_add_fetch(&port_bytes, n * (long)mem_size[kind],
				   __ATOMIC_RELAXED);
}

static void *mem_alloc(int kind)
{
	if (should_fail())
		return NULL;
	count(kind, 1);
	return kind < FRAME ? malloc(mem_size[kind]) :
			      aligned_alloc(mem_size[kind], mem_size[kind]);
}

static void mem_free(int kind, void *p)
{
	__atomic_sub_fetch(&port_allocated, 1, __ATOMIC_RELAXED);
	count(kind, -1);
	free(p);
}

void *tme_port_zalloc(size_t size)
{
	return should_fail() ? NULL :
	       memset(aligned_alloc(64, (size + 63) & ~63ul), 0, size);
}

void tme_port_free(void *p)
{
	__atomic_sub_fetch(&port_allocated, 1, __ATOMIC_RELAXED);
	free(p);
}
#else
/*
 * Slabs: per thread and size a stack of free pieces, which are exchanged with
 * a shared stack BATCH at a time.  Memory comes in chunks from one area of
 * large pages, as in a kernel's direct map, and is never given back.
 */
#define BATCH	64
#define CHUNK	(2ul << 20)
#define AREA	(64ul << 30)

struct piece {
	struct piece *next;	/* in the stack */
	struct piece *batch;	/* the next batch, in the shared stack */
};

static struct slab {
	spinlock_t lock;	/* of all that follows */
	struct piece *batches;
	char *chunk, *chunk_end;
} __attribute__((aligned(128))) slabs[KINDS];

static __thread struct { struct piece *free; int nr; } mine[KINDS];

static char *new_chunk(void)
{
	static char *area;
	static unsigned long used;
	static spinlock_t lock;
	char *chunk;

	spin_lock(&lock);
	if (!area) {
		area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (area == MAP_FAILED) {
			perror("mmap of address space for all frames");
			exit(1);
		}
		used = -(unsigned long)area % CHUNK;
		madvise(area, AREA, MADV_HUGEPAGE);
	}
	chunk = area + used;
	used += CHUNK;
	if (used > AREA)
		abort();
	spin_unlock(&lock);
	return memset(chunk, 0, CHUNK);
}

static void slab_refill(int kind)
{
	struct slab *slab = &slabs[kind];
	struct piece **tail = &mine[kind].free;
	size_t size = mem_size[kind];

	spin_lock(&slab->lock);
	if (slab->batches) {
		mine[kind].free = slab->batches;
		slab->batches = slab->batches->batch;
		mine[kind].nr = BATCH;
		spin_unlock(&slab->lock);
		return;
	}
	while (mine[kind].nr < BATCH) {
		if (slab->chunk + size > slab->chunk_end) {
			slab->chunk = new_chunk();
			slab->chunk_end = slab->chunk + CHUNK;
		}
		*tail = (void *)slab->chunk;
		tail = &(*tail)->next;
		slab->chunk += size;
		mine[kind].nr++;
	}
	*tail = NULL;
	spin_unlock(&slab->lock);
}

static void *mem_alloc(int kind)
{
	struct piece *piece;

	if (!mine[kind].free)
		slab_refill(kind);
	piece = mine[kind].free;
	mine[kind].free = piece->next;
	mine[kind].nr--;
	return piece;
}

static void mem_free(int kind, void *p)
{
	struct slab *slab = &slabs[kind];
	struct piece *piece = p, *last;
	int n;

	piece->next = mine[kind].free;
	mine[kind].free = piece;
	if (++mine[kind].nr < 2 * BATCH)
		return;
	for (last = piece, n = 1; n < BATCH; n++)
		last = last->next;
	mine[kind].free = last->next;
	mine[kind].nr -= BATCH;
	last->next = NULL;
	spin_lock(&slab->lock);
	piece->batch = slab->batches;
	slab->batches = piece;
	spin_unlock(&slab->lock);
}

void *tme_port_zalloc(size_t size)
{
	void *p = aligned_alloc(128, (size + 127) & ~127ul);

	return p ? memset(p, 0, size) : NULL;
}

void tme_port_free(void *p)
{
	free(p);
}
#endif

void *tme_port_cache_alloc(struct port_arena *arena, enum port_cache cache,
			   long *bytes)
{
	void *p = mem_alloc(cache);

	if (!p)
		return NULL;
	*bytes += port_meta_free ? 0 : mem_size[cache];
#ifndef PORT_NATIVE
	memset(p, 0x5a, mem_size[cache]);
#endif
	return p;
}

long tme_port_cache_free(struct port_arena *arena, enum port_cache cache,
			 void *p)
{
	mem_free(cache, p);
	return port_meta_free ? 0 : mem_size[cache];
}

unsigned long tme_port_frame_alloc(bool pers)
{
	return (unsigned long)mem_alloc(FRAME);
}

void tme_port_frame_free(unsigned long frame)
{
	mem_free(FRAME, (void *)frame);
}

/*
 * Compressed slots: spans of SPAN_FRAMES frames, each cut into slots of one
 * size, with a bitmap of the free ones at its head.
 */
#define SLOT_STEP	64
#define SLOT_CLASSES	(PAGE_SIZE * 3 / 4 / SLOT_STEP)
#define SPAN_WORDS	4	/* SPAN_SIZE / SLOT_STEP bits */

struct span {
	struct list_head list;		/* in its class unless full */
	unsigned int class, used, slots;
	u64 free[SPAN_WORDS];
	char slot[] __attribute__((aligned(64)));
};

struct port_arena {
	struct {
		spinlock_t lock;	/* of @spans and all in them */
		struct list_head spans;
	} class[SLOT_CLASSES];
	long frames;
};

struct port_arena *tme_port_arena_create(void)
{
	struct port_arena *arena = tme_port_zalloc(sizeof(*arena));
	unsigned int i;

	for (i = 0; arena && i < SLOT_CLASSES; i++) {
		spin_lock_init(&arena->class[i].lock);
		INIT_LIST_HEAD(&arena->class[i].spans);
	}
	return arena;
}

/* Under its lock */
static void span_free(struct port_arena *arena, struct span *span)
{
	list_del(&span->list);
	__atomic_sub_fetch(&arena->frames, SPAN_FRAMES, __ATOMIC_RELAXED);
	mem_free(SPAN, span);
}

void port_compact(struct port_arena *arena)
{
	struct list_head *spans, *pos, *next;
	struct span *span;
	unsigned int i;

	for (i = 0; i < SLOT_CLASSES; i++) {
		spans = &arena->class[i].spans;
		spin_lock(&arena->class[i].lock);
		for (pos = spans->next; pos != spans; pos = next) {
			next = pos->next;
			span = list_entry(pos, struct span, list);
			if (!span->used)
				span_free(arena, span);
		}
		spin_unlock(&arena->class[i].lock);
	}
}

void tme_port_arena_destroy(struct port_arena *arena)
{
	unsigned int i;

	for (i = 0; i < SLOT_CLASSES; i++)
		assert(list_empty(&arena->class[i].spans));
	tme_port_free(arena);
}

unsigned long tme_port_slot_alloc(struct port_arena *arena, const void *src,
				  unsigned int len, bool pers)
{
	unsigned int i, w, class = (len - 1) / SLOT_STEP;
	unsigned int size = (class + 1) * SLOT_STEP;
	struct span *span;
	char *slot;

	spin_lock(&arena->class[class].lock);
	if (list_empty(&arena->class[class].spans)) {
		span = mem_alloc(SPAN);
		if (!span) {
			spin_unlock(&arena->class[class].lock);
			return 0;
		}
		memset(span, 0, sizeof(*span));
		span->class = class;
		span->slots = (SPAN_SIZE - sizeof(*span)) / size;
		for (i = 0; i < span->slots; i++)
			span->free[i / 64] |= 1ull << i % 64;
		list_add_tail(&span->list, &arena->class[class].spans);
		__atomic_add_fetch(&arena->frames, SPAN_FRAMES,
				   __ATOMIC_RELAXED);
	}
	span = list_entry(arena->class[class].spans.next, struct span, list);
	for (w = 0; !span->free[w]; w++)
		;
	i = __builtin_ctzll(span->free[w]);
	span->free[w] &= ~(1ull << i);
	if (++span->used == span->slots)
		list_del(&span->list);
	spin_unlock(&arena->class[class].lock);

	slot = span->slot + (w * 64 + i) * size;
	memcpy(slot, src, len);
	return (unsigned long)slot;
}

void tme_port_slot_free(struct port_arena *arena, unsigned long slot)
{
	struct span *span = (void *)(slot & ~(SPAN_SIZE - 1));
	unsigned int i = (slot - (unsigned long)span->slot) /
			 ((span->class + 1) * SLOT_STEP);
	struct list_head *spans = &arena->class[span->class].spans;
	spinlock_t *lock = &arena->class[span->class].lock;

	spin_lock(lock);
	assert(!(span->free[i / 64] >> i % 64 & 1));
	span->free[i / 64] |= 1ull << i % 64;
	if (span->used-- == span->slots)
		list_add_tail(&span->list, spans);
	if (!span->used && !port_keep_spans)
		span_free(arena, span);
	spin_unlock(lock);
}

long tme_port_slot_frames(struct port_arena *arena)
{
	return READ_ONCE(arena->frames);
}

struct port_scratch *tme_port_scratch_get(void)
{
	static __thread struct port_scratch scratch;

	return &scratch;
}

int tme_port_compress(struct port_scratch *scratch, const void *src,
		      unsigned int max)
{
	assert(LZ4_sizeofState() <= (int)sizeof(scratch->work));
	if (port_writing)
		port_writing();
	return LZ4_compress_fast_extState(scratch->work, src, scratch->buf,
					  PAGE_SIZE, max, 1);
}

int tme_port_decompress(const void *src, unsigned int len, void *dst)
{
	if (port_reading)
		port_reading();
	if (port_corrupt)
		return -1;
	return LZ4_decompress_safe(src, dst, len, PAGE_SIZE);
}
