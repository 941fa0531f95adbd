// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: its fuzzer.
 *
 * Any string of bytes is a program: a header of HEAD bytes, then operations of
 * OP bytes each, which call all of engine.h for a few clients, change limits
 * and make allocations fail.  Beside the engine runs a model, an array of what
 * was put where, and after each operation the two must agree:
 *
 * - A page that is found is the last one that was put there.
 * - What is persistent is there.  What is ephemeral is there, too, but for the
 *   oldest: the model has the engine's list of ephemeral pages, and drops from
 *   its head until it has as many as the engine.  So the order of eviction is
 *   checked, and a page cannot be missed by chance.
 * - All memory that was allocated is counted against somebody, and nobody is
 *   over a limit, unless it was lowered.
 * - Where nothing was to fail, nothing has failed.
 *
 * A pool that is destroyed step by step loses pages in an order that is not
 * ours to know.  Until it is gone its client is fuzzy: an ephemeral page may be
 * there or not, and after that the model looks which of them are.  With threads
 * a client is fuzzy always.  There each has clients of its own, and one that is
 * shared by all, of which is known only what its pages say of themselves.
 *
 * Three front ends.  libFuzzer calls LLVMFuzzerTestOneInput().  Without it:
 *
 *   fuzz FILE...		run these, or all in these directories
 *   fuzz random SEED OPS	run random programs of so many operations in all
 *   fuzz threads SEED OPS	the same, by several threads at once
 *
 * They say "ok" or "not ok" as TAP does; the program that failed first is left
 * in fuzz-failed.
 */
#include <dirent.h>
#include <pthread.h>
#include "engine.h"
#include "pages.h"

#define HEAD		4
#define OP		4
#define CLIENTS		4		/* the last one shared, with threads */
#define OBJECTS		32
#define INDEXES		256
#define HANDLES		(CLIENTS * TME_MAX_POOLS * OBJECTS * INDEXES)
#define HANDLE_BITS	19		/* 2 + 4 + 5 + 8 */
#define CHUNK		(8 * (long)PAGE_SIZE)	/* TME_CHUNK */
/* What a put leaves of its room, if it takes 15 nodes and 8 for the hash */
#define ROOM		(2 * (long)PAGE_SIZE - 23 * 136 - 96)
#define THREADS		4
#define PROGRAM		2048		/* bytes of a random one */

/* What the model knows of a page: its seed, 0 when there is none */
struct model_page {
	u64 seed;
	u32 next, prev;		/* ephemeral pages of the client, oldest first */
};

enum { NO_POOL, EPHEMERAL, PERSISTENT, SHARED, DYING };

struct model_client {
	struct tme_client *client;	/* NULL: there is none */
	bool fuzzy, was_fuzzy;
	int pool[TME_MAX_POOLS];
	u32 nr[TME_MAX_POOLS][OBJECTS];
	unsigned long eph, pers;
	unsigned long cap, min;
	/* what the engine's numbers are compared with */
	u64 puts, put_fails, gets, hits;
	u64 flushed, gone, replaced;
};

/* One thread's */
struct fuzz {
	struct model_page page[HANDLES + CLIENTS];	/* and heads of lists */
	struct model_client client[CLIENTS];
	struct tme_client *memory;	/* of the clients */
	bool threaded;
	bool fails;			/* allocations may fail */
	bool locked;			/* host->lock is taken, for one op */
	bool corrupt;			/* so is decompression */
	u32 seq;
	long ops;
	const u8 *data;			/* the program, for who is to repeat it */
	size_t size;
};

/* What one operation says: which page, and how many more */
struct op {
	int code, kind, arg;
	struct model_client *c;
	u32 pool, object, index, nr;
};

static struct tme_host host;
static unsigned long limit;
static long shards_bytes;		/* of one pool */
static long ops_done;

static void give_up(struct fuzz *f, int line, const char *what)
{
	FILE *file = fopen("fuzz-failed", "w");

	if (file) {
		fwrite(f->data, 1, f->size, file);
		fclose(file);
	}
	printf("# fuzz.c:%d: %s, operation %ld\n", line, what, f->ops);
	printf("not ok - fuzz\n");
	fflush(stdout);
	abort();
}

#define CHECK(cond) do {						\
	if (!(cond))							\
		give_up(f, __LINE__, #cond);				\
} while (0)

/*
 * Names
 */

static const u32 extremes[16] = {
	0, 1, 15, 16, 63, 64, 4095, 4096, 0xfffff, 0x100000, 0x7fffffff,
	0x80000000, 0x80000001, 0xfffffff0, 0xfffffffe, 0xffffffff,
};

static u32 index_of(u32 index)
{
	return index < 16 ? extremes[index] : 0x10000 + index;
}

static u32 handle(struct fuzz *f, const struct model_client *c, u32 pool,
		  u32 object, u32 index)
{
	return (((c - f->client) * TME_MAX_POOLS + pool) * OBJECTS + object) *
	       INDEXES + index;
}

/* Ids that are the same but for one word */
static const u64 *oid_of(u32 object)
{
	static __thread u64 oid[3];

	oid[0] = object & 3;
	oid[1] = (u64)(object >> 2 & 3) << 32;
	oid[2] = object >> 4;
	return oid;
}

/*
 * The hash is what matters for objects, so the program says what it is: random;
 * the same for all; a shard for each; the same shard for all
 */
static void set_key(int how)
{
	u64 one = how == 2 ? 1ull << 32 : 64ull << 32;
	unsigned int i;

	for (i = 0; i < 7; i++)
		host.key[i] = how ? 0 : (i + 1) * SEED_MUL;
	if (how > 1) {
		host.key[0] = one;
		host.key[3] = 4 * one;
		host.key[4] = 16 * one;
	}
}

/*
 * The model
 */

static struct model_page *list_of(struct fuzz *f, const struct model_client *c)
{
	return &f->page[HANDLES + (c - f->client)];
}

static void model_unlist(struct fuzz *f, struct model_page *page)
{
	f->page[page->next].prev = page->prev;
	f->page[page->prev].next = page->next;
}

static void model_list(struct fuzz *f, const struct model_client *c,
		       struct model_page *page)
{
	struct model_page *list = list_of(f, c);

	page->next = list - f->page;
	page->prev = list->prev;
	f->page[page->prev].next = page - f->page;
	list->prev = page - f->page;
}

static bool has_pool(const struct model_client *c, u32 pool)
{
	return pool < TME_MAX_POOLS && c->pool[pool] != NO_POOL &&
	       c->pool[pool] != DYING;
}

static void model_add(struct fuzz *f, struct model_client *c, u32 nr, u64 seed)
{
	struct model_page *page = &f->page[nr];
	u32 pool = nr / INDEXES / OBJECTS % TME_MAX_POOLS;

	page->seed = seed;
	c->nr[pool][nr / INDEXES % OBJECTS]++;
	if (c->pool[pool] == PERSISTENT) {
		c->pers++;
	} else {
		model_list(f, c, page);
		c->eph++;
	}
}

static void model_del(struct fuzz *f, struct model_client *c, u32 nr)
{
	struct model_page *page = &f->page[nr];
	u32 pool = nr / INDEXES / OBJECTS % TME_MAX_POOLS;

	page->seed = 0;
	c->nr[pool][nr / INDEXES % OBJECTS]--;
	if (c->pool[pool] == PERSISTENT) {
		c->pers--;
	} else {
		model_unlist(f, page);
		c->eph--;
	}
}

static u32 model_del_object(struct fuzz *f, struct model_client *c, u32 pool,
			    u32 object)
{
	u32 i, n = 0, nr = handle(f, c, pool, object, 0);

	for (i = 0; c->nr[pool][object]; i++) {
		if (!f->page[nr + i].seed)
			continue;
		model_del(f, c, nr + i);
		n++;
	}
	return n;
}

static u32 model_del_pool(struct fuzz *f, struct model_client *c, u32 pool)
{
	u32 object, n = 0;

	for (object = 0; object < OBJECTS; object++)
		n += model_del_object(f, c, pool, object);
	return n;
}

/* Is there the page of a handle?  Only to be asked when nobody else drops it */
static bool is_there(struct fuzz *f, struct model_client *c, u32 nr)
{
	int err = tme_lookup(c->client, nr / INDEXES / OBJECTS % TME_MAX_POOLS,
			     oid_of(nr / INDEXES % OBJECTS),
			     index_of(nr % INDEXES));

	CHECK(!err || err == -ENOENT);
	c->gets += !!err;
	return !err;
}

/* The oldest ones have gone: those that are there follow one another */
static void model_settle(struct fuzz *f, struct model_client *c)
{
	struct model_page *list = list_of(f, c);
	bool seen = false;
	u32 nr, next, pool;

	for (pool = 0; pool < TME_MAX_POOLS; pool++)
		if (c->pool[pool] == DYING)
			return;
	c->fuzzy = false;
	for (nr = list->next; nr < HANDLES; nr = next) {
		next = f->page[nr].next;
		if (is_there(f, c, nr)) {
			seen = true;
		} else {
			CHECK(!seen);
			model_del(f, c, nr);
			c->gone++;
		}
	}
}

/* Follow the evictions */
static void model_trim(struct fuzz *f, struct model_client *c)
{
	CHECK(c->eph >= c->client->eph_pages);
	while (c->eph > c->client->eph_pages) {
		model_del(f, c, list_of(f, c)->next);
		c->gone++;
	}
}

static long bytes_of(const struct model_client *c, int pers)
{
	return c->client ? atomic_long_read(&c->client->used[pers]) : 0;
}

/* What each operation must leave behind; @used, @chunks: what was before it */
static void check_memory(struct fuzz *f, const long *used, const long *chunks,
			 const struct model_client *own)
{
	long sum = 0, n, all[2] = { 0 };
	int i, id, t;

	for (i = 0; i < CLIENTS; i++) {
		struct model_client *c = &f->client[i];

		if (!c->client)
			continue;
		for (t = 0; t < 2; t++) {
			n = bytes_of(c, t);
			CHECK(n >= 0);
			sum += n;
			all[t] += (n + CHUNK - 1) / CHUNK;
		}
		n = bytes_of(c, 0) + bytes_of(c, 1);
		CHECK(n <= used[i] || c->cap > LONG_MAX / PAGE_SIZE ||
		      n <= (long)(c->cap * PAGE_SIZE));
		/* One eviction at its minimum gives at most a span and nodes */
		CHECK(c == own || n >= used[i] ||
		      bytes_of(c, 0) / PAGE_SIZE + 6 > c->min);
		for (id = 0; id < TME_MAX_POOLS; id++)
			if (c->client->pool[id].shards)
				sum -= shards_bytes;
		if (!c->fuzzy)
			model_trim(f, c);
	}
	CHECK(sum == port_bytes);
	CHECK(all[0] == atomic_long_read(&host.chunks[0]));
	CHECK(all[1] == atomic_long_read(&host.chunks[1]));
	n = all[0] + all[1];
	CHECK(n <= chunks[0] + chunks[1] || limit > LONG_MAX / PAGE_SIZE ||
	      n * CHUNK <= (long)(limit * PAGE_SIZE));
}

static void check_client(struct fuzz *f, struct model_client *c)
{
	struct tme_stats st;
	u64 dropped;

	tme_client_stats(c->client, &st);
	CHECK(st.gets >= st.hits && st.puts >= st.put_fails);
	CHECK(st.pers_pages + st.eph_pages >= st.raw_pages + st.lz4_pages);
	if (f->threaded)
		return;
	CHECK(port_meta_free || st.used_bytes == st.meta_bytes +
	      (st.raw_pages + st.slot_frames) * PAGE_SIZE);
	CHECK(st.pers_bytes == (u64)bytes_of(c, 1));
	CHECK(tme_client_frames(c->client, false) * PAGE_SIZE >=
	      st.used_bytes - st.pers_bytes);
	CHECK(tme_client_frames(c->client, true) ==
	      (st.pers_bytes + PAGE_SIZE - 1) / PAGE_SIZE);
	CHECK(st.eph_pages == c->client->eph_pages);
	CHECK(st.puts == c->puts);
	CHECK(st.put_fails == c->put_fails);
	CHECK(st.gets == c->gets);
	CHECK(st.hits == c->hits);
	if (c->fuzzy)
		return;
	CHECK(st.eph_pages == c->eph);
	CHECK(st.pers_pages == c->pers);
	/* What was replaced may have been evicted just before */
	dropped = st.flushed + st.evicted;
	CHECK(dropped >= c->gone && dropped <= c->gone + c->replaced);
	CHECK(c->was_fuzzy || st.flushed == c->flushed);
}

/*
 * Operations
 */

static bool shared(struct fuzz *f, const struct model_client *c)
{
	return f->threaded && c == &f->client[CLIENTS - 1];
}

/*
 * Does the model say what an operation on @pool does?  Not where others work, too.
 * Where there is no such pool, @err is all that is to be checked.
 */
static bool is_known(struct fuzz *f, const struct model_client *c, u32 pool,
		     int err)
{
	if (shared(f, c))
		return false;
	CHECK(has_pool(c, pool) || err == -EINVAL);
	return has_pool(c, pool);
}

/* May a page that was put there be gone, and the model not know yet? */
static bool may_be_gone(const struct model_client *c, u32 pool)
{
	return c->fuzzy && c->pool[pool] != PERSISTENT;
}

static void check_page(struct fuzz *f, const page_t *page, u32 nr, u64 seed)
{
	u64 says = page_seed(page);

	CHECK(seed ? says == seed :
		     (says >> 3 & ((1 << HANDLE_BITS) - 1)) == nr);
	CHECK(is(page, says, says & 7));
}

static void do_put(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	bool dup, may_fail;
	page_t page;
	u64 seed;
	int err;
	u32 nr;

	if (op->pool >= TME_MAX_POOLS) {
		fill(&page, 1, SAME);
		CHECK(tme_put(c->client, op->pool, oid_of(op->object),
			      index_of(op->index), &page) == -EINVAL);
		return;
	}
	nr = handle(f, c, op->pool, op->object, op->index);
	f->seq++;
	seed = (u64)f->seq << (HANDLE_BITS + 3) | nr << 3 | op->kind;
	fill(&page, seed, op->kind);
	err = tme_put(c->client, op->pool, oid_of(op->object),
		      index_of(op->index), &page);
	if (shared(f, c)) {
		CHECK(!err || err == -EINVAL || err == -ENOMEM ||
		      err == -EDQUOT || err == -ENOSPC);
		return;
	}
	if (!is_known(f, c, op->pool, err))
		return;
	dup = f->page[nr].seed;
	may_fail = f->fails || c->cap != ULONG_MAX || limit != ULONG_MAX;
	CHECK(!err || (may_fail && (err == -ENOMEM || err == -EDQUOT ||
				    (dup && err == -ENOSPC))));
	CHECK(err || f->threaded || c->cap > LONG_MAX / PAGE_SIZE ||
	      bytes_of(c, 0) + bytes_of(c, 1) + ROOM <=
			(long)(c->cap * PAGE_SIZE));
	c->puts++;
	c->put_fails += !!err;
	if (dup) {
		model_del(f, c, nr);
		c->replaced++;
	}
	if (!err)
		model_add(f, c, nr, seed);
}

static void do_get(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	page_t page;
	u64 seed;
	int err;
	u32 nr;

	err = tme_get(c->client, op->pool, oid_of(op->object),
		      index_of(op->index), &page);
	if (op->pool >= TME_MAX_POOLS) {
		CHECK(err == -EINVAL);
		return;
	}
	nr = handle(f, c, op->pool, op->object, op->index);
	if (shared(f, c)) {
		CHECK(!err || err == -ENOENT || err == -EINVAL);
		if (!err)
			check_page(f, &page, nr, 0);
		return;
	}
	if (!is_known(f, c, op->pool, err))
		return;
	c->gets++;
	seed = f->page[nr].seed;
	if (!seed) {
		CHECK(err == -ENOENT);
		return;
	}
	if (err == -ENOENT) {
		/* evicted; so are all that are older, see model_settle() */
		CHECK(may_be_gone(c, op->pool));
		model_del(f, c, nr);
		c->gone++;
		return;
	}
	c->hits++;
	if (f->corrupt && err == -EIO)
		CHECK(__atomic_exchange_n(&port_warnings, 0,
					  __ATOMIC_RELAXED) == 1);
	else
		CHECK(!err);
	if (!err)
		check_page(f, &page, nr, seed);
	if (c->pool[op->pool] == EPHEMERAL) {
		model_del(f, c, nr);
	} else if (c->pool[op->pool] == SHARED) {
		model_unlist(f, &f->page[nr]);
		model_list(f, c, &f->page[nr]);
	}
}

static void do_lookup(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err = tme_lookup(c->client, op->pool, oid_of(op->object),
			     index_of(op->index));
	u64 seed;

	if (!is_known(f, c, op->pool, err))
		return;
	c->gets += !!err;
	seed = f->page[handle(f, c, op->pool, op->object, op->index)].seed;
	CHECK(seed || err == -ENOENT);
	CHECK(!seed || !err || may_be_gone(c, op->pool));
}

static void do_flush(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err = tme_flush_page(c->client, op->pool, oid_of(op->object),
				 index_of(op->index));
	u32 nr;

	if (!is_known(f, c, op->pool, err))
		return;
	nr = handle(f, c, op->pool, op->object, op->index);
	if (!f->page[nr].seed) {
		CHECK(err == -ENOENT);
		return;
	}
	CHECK(!err || may_be_gone(c, op->pool));
	model_del(f, c, nr);
	c->flushed++;
	c->gone++;
}

static void do_flush_object(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err, calls = 0;
	u32 n;

	while ((err = tme_flush_object(c->client, op->pool,
				       oid_of(op->object))) == -EAGAIN)
		CHECK(shared(f, c) || ++calls <= INDEXES / 32);
	if (!is_known(f, c, op->pool, err))
		return;
	n = model_del_object(f, c, op->pool, op->object);
	c->flushed += n;
	c->gone += n;
	CHECK(err == (n ? 0 : -ENOENT) ||
	      (n && err == -ENOENT && may_be_gone(c, op->pool)));
}

static void do_new_pool(struct fuzz *f, struct op *op)
{
	static const int type[] = { EPHEMERAL, PERSISTENT, SHARED };
	struct model_client *c = op->c;
	u32 flags = op->kind < 6 ? op->kind % 3 : op->kind == 6 ? 3 : op->arg << 2;
	int err = tme_new_pool(c->client, flags), id;

	if (flags > 2) {
		CHECK(err == -EINVAL);
		return;
	}
	if (shared(f, c)) {
		CHECK(err < TME_MAX_POOLS && err != -EINVAL);
		return;
	}
	for (id = 0; id < TME_MAX_POOLS && c->pool[id] != NO_POOL; id++)
		;
	if (id == TME_MAX_POOLS) {
		CHECK(err == -ENOSPC);
	} else if (err >= 0) {
		CHECK(err == id);
		c->pool[id] = type[flags];
	} else {
		CHECK(f->fails || c->cap != ULONG_MAX || limit != ULONG_MAX);
		CHECK(err == -ENOMEM || err == -EDQUOT);
	}
}

/* One step of it */
static void do_destroy_pool(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err = tme_destroy_pool(c->client, op->pool);
	u32 n;

	if (shared(f, c)) {
		CHECK(!err || err == -EAGAIN || err == -EINVAL);
		return;
	}
	if (op->pool >= TME_MAX_POOLS || c->pool[op->pool] == NO_POOL) {
		CHECK(err == -EINVAL);
		return;
	}
	CHECK(!err || err == -EAGAIN);
	if (c->pool[op->pool] != DYING) {
		n = model_del_pool(f, c, op->pool);
		CHECK(!err || n);
		c->flushed += n;
		c->gone += n;
		c->pool[op->pool] = DYING;
		if (err)
			c->fuzzy = true;
		c->was_fuzzy |= c->fuzzy;
	}
	if (err)
		return;
	c->pool[op->pool] = NO_POOL;
	if (c->fuzzy && !f->threaded)
		model_settle(f, c);
}

static void do_pool_state(struct fuzz *f, struct op *op)
{
	static const int flags[] = { -EINVAL, 0, TME_POOL_PERSISTENT,
				     TME_POOL_SHARED, -EINVAL };
	struct model_client *c = op->c;
	int got = tme_pool_flags(c->client, op->pool), object;
	bool empty = tme_pool_empty(c->client, op->pool);
	u32 n = 0;

	if (shared(f, c))
		return;
	if (op->pool >= TME_MAX_POOLS) {
		CHECK(got == -EINVAL && empty);
		return;
	}
	CHECK(got == flags[c->pool[op->pool]]);
	for (object = 0; object < OBJECTS; object++)
		n += c->nr[op->pool][object];
	CHECK(empty == !n || c->fuzzy);
}

static void client_start(struct fuzz *f, int i)
{
	struct model_client *c = &f->client[i];
	struct model_page *list = list_of(f, c);
	int err = tme_client_init(&host, &f->memory[i]);

	CHECK(!err || (err == -ENOMEM && f->fails));
	if (err)
		return;
	memset(c, 0, sizeof(*c));
	c->client = &f->memory[i];
	c->cap = ULONG_MAX;
	c->fuzzy = f->threaded;
	list->next = HANDLES + i;
	list->prev = HANDLES + i;
}

static void client_stop(struct fuzz *f, struct model_client *c)
{
	u32 pool, nr, end;
	int err, calls = 0;

	/* All that is persistent is still there, and right */
	for (pool = 0; pool < TME_MAX_POOLS; pool++) {
		if (c->pool[pool] != PERSISTENT || !c->pers)
			continue;
		nr = handle(f, c, pool, 0, 0);
		for (end = nr + OBJECTS * INDEXES; nr < end; nr++) {
			struct op op = {
				.c = c, .pool = pool, .index = nr % INDEXES,
				.object = nr / INDEXES % OBJECTS,
			};

			if (!c->nr[pool][op.object])
				nr |= INDEXES - 1;
			else if (f->page[nr].seed)
				do_get(f, &op);
		}
	}
	check_client(f, c);
	while ((err = tme_client_destroy(c->client)) == -EAGAIN)
		CHECK(++calls <= HANDLES / CLIENTS / 32 || f->threaded);
	CHECK(!err);
	for (pool = 0; pool < TME_MAX_POOLS; pool++)
		model_del_pool(f, c, pool);
	CHECK(!c->eph && !c->pers);
	memset(c->client, 0x5a, sizeof(*c->client));
	c->client = NULL;
}

static void do_evict(struct fuzz *f, struct op *op)
{
	unsigned long sum = 0, mem = 0, max, n;
	long bytes = 0, before = READ_ONCE(port_bytes);
	int i;

	n = tme_evictable(&host);
	for (i = 0; i < CLIENTS && !f->threaded; i++) {
		struct tme_client *client = f->client[i].client;

		sum += client ? client->eph_pages : 0;
		mem += client ? bytes_of(&f->client[i], 0) / PAGE_SIZE : 0;
	}
	CHECK(f->threaded || n == sum);
	CHECK(tme_freeable(&host) <= mem || f->threaded);
	max = op->kind < 6 ? op->arg % 8 : op->arg;
	n = tme_evict(&host, max, op->kind ? &bytes : NULL);
	CHECK(n <= max);
	if (f->threaded)
		return;
	CHECK(n <= sum);
	/* Chains of objects may be merged, which can take nodes */
	CHECK(before - port_bytes + (long)n * 1088 >= bytes);
}

static bool stop_always(void)
{
	return true;
}

/* No other thread may be there: these are plain variables */
static void do_fault(struct fuzz *f, struct op *op)
{
	if (f->threaded)
		return;
	switch (op->kind) {
	case 0:
	case 1:
		port_fail_at = port_allocs + 1 + op->arg % 32;
		break;
	case 2:
		port_fail_every = op->arg < 64 ? op->arg : 0;
		break;
	case 3:
		port_stop = op->arg % 2 ? stop_always : NULL;
		return;
	case 4:
		port_memory_short = true;
		break;
	case 5:
		f->corrupt = true;
		port_corrupt = true;
		return;
	case 6:
		f->locked = true;
		spin_lock(&host.lock);
		return;
	default:
		port_fail_at = 0;
		port_fail_every = 0;
		port_stop = NULL;
		f->fails = false;
		return;
	}
	f->fails = true;
}

static void do_limits(struct fuzz *f, struct op *op)
{
	unsigned long frames = op->arg % 4 ? ULONG_MAX : op->arg * 4ul;

	switch (op->kind) {
	case 0:
	case 1:
		op->c->cap = frames;
		tme_client_set_cap(op->c->client, frames);
		break;
	case 2:
	case 3:
		__atomic_store_n(&limit, frames, __ATOMIC_RELAXED);
		tme_host_set_limit(&host, frames);
		break;
	case 4:
		tme_client_set_weight(op->c->client, op->arg + 1);
		break;
	case 5:
		op->c->min = op->arg / 4;
		tme_client_set_min(op->c->client, op->arg / 4);
		break;
	default:
		tme_client_set_compress(op->c->client, op->kind & 1);
		break;
	}
}

static void many(struct fuzz *f, struct op *op, bool objects,
		 void (*func)(struct fuzz *f, struct op *op))
{
	u32 nr = objects && op->nr > OBJECTS ? OBJECTS : op->nr, n;
	u32 *what = objects ? &op->object : &op->index;

	/* Aligned, so that others may find it */
	*what &= ~(nr - 1);
	f->ops += nr - 1;
	for (n = 0; n < nr; n++, ++*what)
		func(f, op);
}

static void do_op(struct fuzz *f, const u8 *b)
{
	static const u32 hostile[4] = { 16, 17, 0x80000000, -1u };
	int own = b[1] & 3;
	struct op op = {
		.code = b[0] & 31, .kind = b[0] >> 5, .arg = b[3],
		.c = &f->client[own],
		.pool = b[1] >> 2 & 3, .object = b[2] & 31, .index = b[3],
		.nr = 1u << (b[2] >> 5),
	};

	/* Few pools are there mostly */
	if (b[1] >> 4 == 15)
		op.pool = b[2] & 128 ? hostile[b[2] & 3] : b[2] & 15;
	if (!op.c->client && op.code < 23 && own < 2)
		op.code = 23;
	if (!op.c->client && op.code != 23)
		return;
	if (f->locked && (op.code >= 23 || op.code == 18))
		return;
	if (op.code <= 10 && op.kind >= ALL_KINDS)
		op.kind = NOISE;

	switch (op.code) {
	case 0 ... 8:
		do_put(f, &op);
		break;
	case 9 ... 10:
		many(f, &op, op.code == 10, do_put);
		break;
	case 11 ... 14:
		do_get(f, &op);
		break;
	case 15 ... 16:
		many(f, &op, op.code == 16, do_get);
		break;
	case 17:
		many(f, &op, op.kind & 1, do_lookup);
		break;
	case 18:
		/* Not so often that nothing is there */
		if (!op.kind || op.c->fuzzy)
			do_destroy_pool(f, &op);
		break;
	case 19 ... 20:
		do_flush(f, &op);
		break;
	case 21:
		many(f, &op, op.kind & 1, do_flush);
		break;
	case 22:
		do_flush_object(f, &op);
		break;
	case 23:
		if (!op.c->client)
			client_start(f, own);
		else if (!(op.arg & 15) && !shared(f, op.c))
			client_stop(f, op.c);
		break;
	case 24 ... 25:
		do_new_pool(f, &op);
		break;
	case 26:
		do_pool_state(f, &op);
		break;
	case 27 ... 28:
		do_limits(f, &op);
		break;
	case 29:
		do_evict(f, &op);
		break;
	case 30:
		do_fault(f, &op);
		break;
	case 31:
		check_client(f, op.c);
		break;
	}
}

static void do_program(struct fuzz *f)
{
	bool was_locked, was_corrupt, was_short;
	long used[CLIENTS], chunks[2];
	size_t at;
	int i;

	for (at = HEAD; at + OP <= f->size; at += OP) {
		was_locked = f->locked;
		was_corrupt = f->corrupt;
		was_short = port_memory_short;
		for (i = 0; i < CLIENTS && !f->threaded; i++)
			used[i] = bytes_of(&f->client[i], 0) +
				  bytes_of(&f->client[i], 1);
		chunks[0] = atomic_long_read(&host.chunks[0]);
		chunks[1] = atomic_long_read(&host.chunks[1]);
		f->ops++;
		do_op(f, f->data + at);
		if (!f->threaded)
			check_memory(f, used, chunks,
				     &f->client[f->data[at + 1] & 3]);
		/* These are for one operation */
		if (was_locked) {
			spin_unlock(&host.lock);
			f->locked = false;
		}
		if (was_corrupt) {
			f->corrupt = false;
			port_corrupt = false;
		}
		if (was_short)
			port_memory_short = false;
	}
}

static void no_more_faults(struct fuzz *f)
{
	if (f->locked)
		spin_unlock(&host.lock);
	f->locked = false;
	f->corrupt = false;
	port_corrupt = false;
	port_memory_short = false;
	port_fail_at = 0;
	port_fail_every = 0;
	port_stop = NULL;
}

/* The header: the hash, the host's limit, and what is there from the start */
static void run(struct fuzz *f, const u8 *data, size_t size)
{
	static const u32 type[] = { 0, TME_POOL_PERSISTENT, TME_POOL_SHARED };
	int i, p;

	if (size < HEAD)
		return;
	f->data = data;
	f->size = size;
	f->fails = false;
	CHECK(!tme_host_init(&host));
	set_key(data[0] & 3);
	port_meta_free = (data[0] >> 2 & 15) == 15;
	limit = data[1] ? data[1] * 6 : ULONG_MAX;
	tme_host_set_limit(&host, limit);
	for (i = 0; i < 2; i++) {
		client_start(f, i);
		if (data[2 + i]) {
			f->client[i].cap = data[2 + i] * 6;
			tme_client_set_cap(&f->memory[i], data[2 + i] * 6);
		}
		tme_client_set_compress(&f->memory[i], data[0] >> (6 + i) & 1);
		for (p = 0; p < 3; p++)
			if (tme_new_pool(&f->memory[i], type[p]) == p)
				f->client[i].pool[p] = EPHEMERAL + p;
			else
				break;
	}
	do_program(f);
	no_more_faults(f);
	for (i = 0; i < CLIENTS; i++)
		if (f->client[i].client)
			client_stop(f, &f->client[i]);
	tme_host_destroy(&host);
	CHECK(!port_allocated && !port_bytes && !port_warnings);
	ops_done += f->ops;
	f->ops = 0;
}

/*
 * Front ends
 */

static struct fuzz *fuzz_new(void)
{
	struct fuzz *f = calloc(1, sizeof(*f));
	struct tme_client *client;

	f->memory = aligned_alloc(64, CLIENTS * sizeof(*f->memory));
	client = f->memory;
	if (shards_bytes)
		return f;
	pages_init();
	CHECK(!tme_host_init(&host));
	CHECK(!tme_client_init(&host, client));
	CHECK(!tme_new_pool(client, 0));
	shards_bytes = atomic_long_read(&client->used[0]);
	CHECK(!tme_client_destroy(client));
	tme_host_destroy(&host);
	return f;
}

#ifdef LIBFUZZER
static void say_operations(void)
{
	fprintf(stderr, "%ld operations\n", ops_done);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct fuzz *f;

	if (!f) {
		f = fuzz_new();
		atexit(say_operations);
	}
	run(f, data, size);
	return 0;
}
#else
static u64 next(u64 *state)
{
	*state = xorshift(*state);
	return *state * SEED_MUL >> 16;
}

/* The smaller the part of the handles that one uses, the more it finds there */
static void random_program(u8 *data, u64 *state)
{
	static const u8 pools[4] = { 0x05, 0x0b, 0x0d, 0xff };
	static const u8 masks[4] = { 1, 7, 31, 255 };
	u64 x = next(state);
	u8 where = pools[x & 3];
	u8 objects = 31 & masks[x >> 2 & 3], indexes = masks[x >> 4 & 3];
	u8 nr = x >> 8 & 0xe0;
	unsigned int i;

	/* Often without limits, often without compression */
	for (i = 0; i < HEAD; i++)
		data[i] = x >> (16 + i) & 1 ? 0 : next(state);
	for (; i < PROGRAM; i += OP) {
		x = next(state);
		data[i] = x;
		data[i + 1] = x >> 8 & where;
		data[i + 2] = (nr | objects) & x >> 16;
		data[i + 3] = x >> 24 & ((x & 31) <= 22 ? indexes : 255);
	}
}

static void fuzz_free(struct fuzz *f)
{
	free(f->memory);
	free(f);
}

static int nr_files;

static void run_file(struct fuzz *f, const char *name)
{
	char path[PATH_MAX];
	struct dirent *entry;
	static u8 data[1 << 20];
	FILE *file;
	DIR *dir;

	dir = opendir(name);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
		if (entry->d_name[0] != '.')
			run_file(f, path);
	}
	if (dir) {
		closedir(dir);
		return;
	}
	file = fopen(name, "r");
	if (!file) {
		perror(name);
		exit(2);
	}
	run(f, data, fread(data, 1, sizeof(data), file));
	fclose(file);
	nr_files++;
}

struct thread {
	pthread_t id;
	struct fuzz *f;
	u64 seed;
	long ops;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct fuzz *f = t->f;
	u8 data[PROGRAM];
	int i;

	f->data = data;
	f->size = sizeof(data);
	while (f->ops < t->ops) {
		random_program(data, &t->seed);
		do_program(f);
	}
	for (i = 0; i < CLIENTS - 1; i++)
		if (f->client[i].client)
			client_stop(f, &f->client[i]);
	__atomic_add_fetch(&ops_done, f->ops, __ATOMIC_RELAXED);
	return NULL;
}

/* Several times: each begins with clients and pools that are new */
static void run_threads(struct fuzz *f, u64 seed, long ops)
{
	struct tme_client *last = &f->memory[CLIENTS - 1];
	struct thread thread[THREADS];
	int i;

	CHECK(!tme_host_init(&host));
	set_key(seed & 3);
	limit = 400;
	tme_host_set_limit(&host, limit);
	CHECK(!tme_client_init(&host, last));
	port_fail_every = seed % 2 ? 101 : 0;
	for (i = 0; i < THREADS; i++) {
		thread[i].f = fuzz_new();
		thread[i].f->threaded = true;
		thread[i].f->fails = true;
		thread[i].f->seq = i << 28;
		thread[i].f->client[CLIENTS - 1] = (struct model_client){
			.client = last, .cap = ULONG_MAX, .fuzzy = true,
		};
		thread[i].seed = seed * THREADS + i + 1;
		thread[i].ops = ops / THREADS;
		pthread_create(&thread[i].id, NULL, thread_main, &thread[i]);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(thread[i].id, NULL);
		fuzz_free(thread[i].f);
	}
	port_fail_every = 0;
	while (tme_client_destroy(last) == -EAGAIN)
		;
	tme_host_destroy(&host);
	CHECK(!port_allocated && !port_bytes && !port_warnings);
}

int main(int argc, char **argv)
{
	struct fuzz *f = fuzz_new();
	bool random = argc == 4 && !strcmp(argv[1], "random");
	bool threads = argc == 4 && !strcmp(argv[1], "threads");
	u8 data[PROGRAM];
	long ops;
	u64 seed;
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: fuzz FILE... | random SEED OPS | threads SEED OPS\n");
		return 2;
	}
	if (!random && !threads) {
		for (i = 1; i < argc; i++)
			run_file(f, argv[i]);
		fuzz_free(f);
		printf("ok 1 - fuzz_corpus (%s) # %d programs, %ld operations\n",
		       SANITIZER, nr_files, ops_done);
		return 0;
	}
	seed = strtoull(argv[2], NULL, 0);
	ops = strtol(argv[3], NULL, 0);
	if (random) {
		seed = seed * SEED_MUL + 1;
		while (ops_done < ops) {
			random_program(data, &seed);
			run(f, data, sizeof(data));
		}
	} else {
		for (i = 0; i < 4; i++)
			run_threads(f, seed + i, ops / 4);
	}
	fuzz_free(f);
	printf("ok 1 - fuzz_%s (%s) # %ld operations from seed %s\n", argv[1],
	       SANITIZER, ops_done, argv[2]);
	return 0;
}
#endif
