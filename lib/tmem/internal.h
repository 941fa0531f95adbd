/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: what its parts share, and what each put, get and flush does in
 * them.
 *
 * Each part calls only those before it:
 *
 *   account.c	what memory is counted against whom
 *   index.c	a sparse array
 *   object.c	objects, in hash tables, and the end of pages
 *   evict.c	whose page goes when memory is needed
 *   client.c	hosts, clients and pools: how they come and go
 *   engine.c	put, get and flush
 */
#ifndef TME_INTERNAL_H
#define TME_INTERNAL_H

#include "engine.h"
#include "index.h"

#define TME_SHARDS		64u	/* per pool; a power of 2 */
#define TME_CHAIN_MAX		64	/* objects in a bucket */
#define TME_BATCH		32	/* pages per lock hold of a walk */
#define TME_WORK		512	/* pages per call of a walk */
#define TME_CHUNK_SHIFT		(PAGE_SHIFT + 3)
#define TME_CHUNK		(8 * PAGE_SIZE)	/* step of the host's total */
#define TME_RAW			0xffffu	/* page->len of a frame */
/* Room for the objects and nodes of a put: 15 nodes for two far indices, ... */
#define TME_HEADROOM		(2 * PAGE_SIZE)

/**
 * enum tme_pool_state - state of a slot of client->pool
 * @TME_FREE: there is no pool; tme_new_pool() may take the slot
 * @TME_BUSY: a call is making a pool here, or drops its pages; others find none
 * @TME_LIVE: there is a pool, which all calls find
 * @TME_DYING: a destruction has begun and has to be called again; as in
 *	TME_BUSY no call finds the pool, but the next destruction goes on
 */
enum tme_pool_state { TME_FREE, TME_BUSY, TME_LIVE, TME_DYING };

/* An object exists as long as it has a page */
struct tme_object {
	u64 oid[3];
	struct tme_object *next;	/* in its bucket */
	struct tme_shard *shard;
	struct tme_index pages;		/* page index -> struct tme_page */
	u32 hash;
};

/* A page; one for each 4 KiB that a client stores, so every byte counts */
struct tme_page {
	struct list_head lru;		/* in client->lru if ephemeral */
	struct tme_object *object;
	unsigned long data;		/* by @len: word, slot or frame */
	u32 index;
	u16 len;			/* 0: a word; TME_RAW; bytes of lz4 */
	bool pers;			/* which of client->arena */
};

struct tme_shard {
	spinlock_t lock;		/* of all that is in the shard */
	u32 buckets;			/* number of buckets, 1 or more */
	u32 mask;			/* next power of 2, less 1 */
	u32 nr;				/* number of objects */
	struct tme_index bucket;	/* bucket -> chain of objects */
	struct tme_pool *pool;
	struct tme_stats stats;
} ____cacheline_aligned;

#define TME_SHARDS_BYTES	((long)(TME_SHARDS * sizeof(struct tme_shard)))

static inline bool tme_shard_pers(const struct tme_shard *shard)
{
	return shard->pool->flags & TME_POOL_PERSISTENT;
}

/*
 * Accounting: account.c
 */

void tme_set_keep(struct tme_client *client);
void tme_charge_chunks(struct tme_client *client, bool pers, long chunks);
long tme_charge_slots(struct tme_client *client, bool pers);
void tme_charge_shards(struct tme_client *client, int n);
void *tme_meta_alloc(struct tme_shard *shard, enum port_cache cache, long size);
void tme_meta_free(struct tme_shard *shard, enum port_cache cache, long size,
		   void *p);

/* Rounded up; it may be below 0 for a moment, where a division rounds to 0 */
static inline long tme_chunks(long bytes)
{
	return (bytes + (long)TME_CHUNK - 1) >> TME_CHUNK_SHIFT;
}

/*
 * Count @bytes, which may be negative.  Each step knows exactly from where to
 * where it took the client's number, so the sum of the chunks is exact as well.
 */
static inline void tme_charge(struct tme_client *client, bool pers, long bytes)
{
	long now, chunks;

	if (!bytes)
		return;
	now = atomic_long_add_return(bytes, &client->used[pers]);
	chunks = tme_chunks(now) - tme_chunks(now - bytes);
	if (chunks)
		tme_charge_chunks(client, pers, chunks);
}

static inline long tme_used(struct tme_client *client)
{
	return atomic_long_read(&client->used[0]) +
	       atomic_long_read(&client->used[1]);
}

/*
 * Is the client, or the host, over its limit when @room bytes more are used?
 */
static inline int tme_over(struct tme_client *client, bool pers, long room)
{
	struct tme_host *host = client->host;
	long used = atomic_long_read(&client->used[pers]);
	long chunks = atomic_long_read(&host->chunks[0]) +
		      atomic_long_read(&host->chunks[1]) +
		      tme_chunks(used + room) - tme_chunks(used);

	if (DIV_ROUND_UP((unsigned long)(tme_used(client) + room), PAGE_SIZE) >
	    READ_ONCE(client->cap))
		return -EDQUOT;
	if (chunks * (TME_CHUNK / PAGE_SIZE) > READ_ONCE(host->limit))
		return -ENOMEM;
	return 0;
}

/*
 * Objects and pages: object.c
 */

int tme_bucket_set(struct tme_shard *shard, u32 bucket,
		   struct tme_object *chain);
void tme_hash_grow(struct tme_shard *shard);
void tme_object_free(struct tme_object *obj);
u32 tme_object_reap(struct tme_object *obj, struct list_head *list, u32 nr);
long tme_page_free(struct tme_client *client, struct tme_page *page);

static inline u32 tme_bucket(const struct tme_shard *shard, u32 hash)
{
	u32 bucket = hash / TME_SHARDS & shard->mask;

	return bucket < shard->buckets ? bucket : bucket & (shard->mask >> 1);
}

/* How many objects are in a bucket: TME_CHAIN_MAX at most */
static inline unsigned int tme_chain_length(const struct tme_object *chain)
{
	unsigned int n = 0;

	for (; chain; chain = chain->next)
		n++;
	return n;
}

/* Return: bytes that the client takes less; negative if the slots have grown */
static __always_inline long __tme_page_free(struct tme_client *client,
					    struct tme_page *page)
{
	long bytes = 0, slots = 0;
	bool pers = page->pers;

	if (page->len == TME_RAW) {
		tme_port_frame_free(page->data);
		bytes += PAGE_SIZE;
	} else if (page->len) {
		tme_port_slot_free(client->arena[pers], page->data);
		slots = tme_charge_slots(client, pers);
	}
	bytes += tme_port_cache_free(client->arena[pers], PORT_PAGE, page);
	tme_charge(client, pers, -bytes);
	return bytes - slots;
}

static inline void tme_page_free_list(struct tme_client *client,
				      struct list_head *list)
{
	struct tme_page *page, *next;

	list_for_each_entry_safe(page, next, list, lru)
		tme_page_free(client, page);
}

/* Count a page in (@n == 1) or out (@n == -1) */
static inline void tme_page_count(struct tme_shard *shard,
				  struct tme_page *page, int n)
{
	struct tme_stats *stats = &shard->stats;

	lockdep_assert_held(&shard->lock);
	if (page->pers)
		stats->pers_pages += n;
	else
		stats->eph_pages += n;
	if (page->len == TME_RAW)
		stats->raw_pages += n;
	else if (page->len)
		stats->lz4_pages += n;
	stats->meta_bytes += n * (long)sizeof(*page);
}

static inline void tme_lru_del(struct tme_shard *shard, struct tme_page *page)
{
	struct tme_client *client = shard->pool->client;

	tme_page_count(shard, page, -1);
	if (!page->pers) {
		spin_lock(&client->lru_lock);
		list_del(&page->lru);
		WRITE_ONCE(client->eph_pages, client->eph_pages - 1);
		spin_unlock(&client->lru_lock);
	}
}

/* Where @page is in its object */
static inline struct tme_place tme_page_place(struct tme_page *page)
{
	return tme_index_find(&page->object->pages, page->index);
}

/* Out of its object */
static inline void tme_page_erase(struct tme_page *page, struct tme_place place)
{
	struct tme_object *obj = page->object;

	lockdep_assert_held(&obj->shard->lock);
	tme_index_erase(&obj->pages, place, obj->shard, page->index);
	if (!obj->pages.nr)
		tme_object_free(obj);
}

/* Off the list first: while it is on it, eviction may look at its object */
static inline void tme_page_unlink(struct tme_page *page,
				   struct tme_place place)
{
	tme_lru_del(page->object->shard, page);
	tme_page_erase(page, place);
}

/*
 * Eviction: evict.c
 */

int tme_evict_for(struct tme_client *client, bool pers, long room, int err);
void tme_wait_for_pickers(struct tme_host *host);

/* Return: 0 when there is room for a put, or what it fails with */
static inline int tme_lacks_room(struct tme_client *client, bool pers,
				 long bytes)
{
	int err = tme_over(client, pers, bytes + TME_HEADROOM);

	return err ?: tme_port_short() ? -ENOMEM : 0;
}

/*
 * Bring @client and its host back under their limits, with @bytes more that are
 * not counted yet, and leave the port what it wants to have spare, by at most
 * TME_PUT_EVICTS evictions.  Mostly it takes one; but pages that take next to
 * nothing can lie ahead of others, and slots come in sizes.
 *
 * Return: 0; -EDQUOT over its cap, -ENOMEM otherwise, and then the put that
 * wanted the room has to fail.
 */
static inline int tme_make_room(struct tme_client *client, bool pers,
				long bytes)
{
	int err = tme_lacks_room(client, pers, bytes);

	return err ? tme_evict_for(client, pers, bytes, err) : 0;
}

/*
 * Pools: client.c
 */

/* Under the lock of any of its shards: the pool is alive and stays so */
static inline bool tme_pool_live(struct tme_pool *pool)
{
	/* Pairs with the release in tme_new_pool() */
	return smp_load_acquire(&pool->state) == TME_LIVE;
}

/* The number comes from a client: it may be anything */
static inline struct tme_pool *tme_pool(struct tme_client *client, u32 id)
{
	if (id >= TME_MAX_POOLS)
		return NULL;
	return &client->pool[tme_clamp(id, TME_MAX_POOLS)];
}

/* As above, or NULL if the pool is not alive */
static inline struct tme_pool *tme_pool_find(struct tme_client *client, u32 id)
{
	struct tme_pool *pool = tme_pool(client, id);

	return pool && tme_pool_live(pool) ? pool : NULL;
}

/* After @nr more pages of a walk: is this enough for one call? */
static inline bool tme_enough(int *work, u32 nr)
{
	*work -= nr;
	return *work <= 0 || tme_port_should_stop();
}

#endif /* TME_INTERNAL_H */
