// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: the model that its fuzzer compares it with; see fuzz.c.
 */
#include "fuzz.h"

#define CHUNK		(8 * (long)PAGE_SIZE)	/* TME_CHUNK */

/*
 * Names
 */

static const u32 extremes[16] = {
	0, 1, 15, 16, 63, 64, 4095, 4096, 0xfffff, 0x100000, 0x7fffffff,
	0x80000000, 0x80000001, 0xfffffff0, 0xfffffffe, 0xffffffff,
};

u32 index_of(u32 index)
{
	return index < 16 ? extremes[index] : 0x10000 + index;
}

u32 handle(struct fuzz *f, const struct model_client *c, u32 pool,
	   u32 object, u32 index)
{
	return (((c - f->client) * TME_MAX_POOLS + pool) * OBJECTS + object) *
	       INDEXES + index;
}

/* Ids that are the same but for one word */
const u64 *oid_of(u32 object)
{
	static __thread u64 oid[3];

	oid[0] = object & 3;
	oid[1] = (u64)(object >> 2 & 3) << 32;
	oid[2] = object >> 4;
	return oid;
}

/*
 * The model
 */

struct model_page *list_of(struct fuzz *f, const struct model_client *c)
{
	return &f->page[HANDLES + (c - f->client)];
}

void model_unlist(struct fuzz *f, struct model_page *page)
{
	f->page[page->next].prev = page->prev;
	f->page[page->prev].next = page->next;
}

void model_list(struct fuzz *f, const struct model_client *c,
		struct model_page *page)
{
	struct model_page *list = list_of(f, c);

	page->next = list - f->page;
	page->prev = list->prev;
	f->page[page->prev].next = page - f->page;
	list->prev = page - f->page;
}

bool has_pool(const struct model_client *c, u32 pool)
{
	return pool < TME_MAX_POOLS && c->pool[pool] != NO_POOL &&
	       c->pool[pool] != DYING;
}

void model_add(struct fuzz *f, struct model_client *c, u32 nr, u64 seed)
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

void model_del(struct fuzz *f, struct model_client *c, u32 nr)
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

u32 model_del_object(struct fuzz *f, struct model_client *c, u32 pool,
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

u32 model_del_pool(struct fuzz *f, struct model_client *c, u32 pool)
{
	u32 object, n = 0;

	for (object = 0; object < OBJECTS; object++)
		n += model_del_object(f, c, pool, object);
	return n;
}

/* Is there the page of a handle?  Only to be asked when no thread drops it */
static bool is_there(struct fuzz *f, struct model_client *c, u32 nr)
{
	int err = tme_lookup(c->client, nr / INDEXES / OBJECTS % TME_MAX_POOLS,
			     oid_of(nr / INDEXES % OBJECTS),
			     index_of(nr % INDEXES));

	CHECK(!err || err == -ENOENT);
	c->gets += !!err;
	return !err;
}

/* The oldest pages have gone: those that are there follow one another */
void model_settle(struct fuzz *f, struct model_client *c)
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

long bytes_of(const struct model_client *c, int pers)
{
	return c->client ? atomic_long_read(&c->client->used[pers]) : 0;
}

/* What each operation must leave behind; @used, @chunks: what was before it */
void check_memory(struct fuzz *f, const long *used, const long *chunks,
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

void check_client(struct fuzz *f, struct model_client *c)
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
