// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: clients, pools, objects, pages, eviction.
 *
 * The problem: hold copies of pages for clients that do not trust one another
 * and that may be hostile, so that put, get and flush cost little more than the
 * copy; give the memory of ephemeral pages back in no time, from the client
 * that has most of it; never lose a persistent page; and never be away for
 * long, because the caller may be in a hypervisor or hold spinlocks.
 *
 * A page is named by {pool, object, index}:
 *
 *   host -> clients -> pools -> shards -> objects -> pages
 *
 * A pool is an array of shards.  An object lives, with its pages, in the shard
 * that its hash says.  One spinlock per shard protects all of that: there are
 * no locks and no reference counts per object.  Shards outlive their pool and
 * go with the client, so that a call that races with the destruction of its
 * pool finds the shard there, but empty; a put looks under the shard's lock
 * whether the pool is still alive.  A pool slot may be used again at once.
 *
 * Hash.  Object ids come from clients, so the hash is keyed with a secret: a
 * strongly universal multilinear hash, with which no client that knows nothing
 * of the key can collide objects on purpose.  But a client can learn of the
 * key, by timing calls for ids of its choice.  So a chain of objects has a
 * bound: a put of a new object fails where TME_CHAIN_MAX others share its
 * bucket, and buckets are not merged beyond it.  Within a shard it is a table
 * that grows by linear hashing: each insertion that finds more objects than
 * buckets splits one bucket, and each removal that finds less than half as many
 * merges one.  Nothing is ever rehashed at large.  The buckets are kept in a
 * sparse array (index.c), so an empty bucket takes no memory, and "the number
 * of buckets" is only a number.
 *
 * Pages.  A page that repeats one word is that word.  If the client wants
 * compression, a page that shrinks to 3/4 or less takes a slot of the host's slot
 * allocator, if that has one; any other takes a frame.  All of it is allocated and
 * copied before a lock is taken; under the lock the descriptor is linked, the old
 * page is unlinked, and freed after.  So nothing changes before the copy succeeded.
 * A put that fails removes the page that was there: it must not be found again.
 *
 * A get from an ephemeral pool removes the page, and copies it after unlocking.
 * A get from a persistent pool copies under the lock.
 *
 * Eviction.  Each client has a list of its ephemeral pages in the order they
 * were put, with its own lock inside the shards' locks.  Eviction goes the
 * other way, from the list to the shard, hence only tries the shard's lock.  If
 * that is busy, eviction takes it without the list's lock, and then looks
 * whether the oldest page is still in this shard.
 *
 * The client to evict from is the one most above its share.  Nothing that is
 * done often looks at all clients: the last victim competes with a few others
 * in turn (tme_choose()), and many puts take the same one.  Many CPUs may be
 * putting at the limit: one that finds another choosing takes the victim of
 * before, without the lock (tme_pick_last()).
 *
 * Accounting.  All memory that a client causes to be allocated is counted
 * against it, in bytes: frames, the frames of its compressed slots (with the
 * gaps in them, which a hostile client would aim for), shards, and for
 * descriptors, objects and nodes what the port says: their size, or, where a
 * client has slabs to itself, whole frames, again with the gaps.  The host's
 * total is the sum of the clients' bytes, each rounded up to TME_CHUNK, so that
 * a client touches the shared counter once in many calls.  A put that finds its
 * client over its cap evicts from this client; one that finds the host over its
 * limit evicts from the client most above its share.  A frame of an ephemeral
 * page is counted first and taken after.  So the limits hold at all times, but
 * for what puts of other CPUs take at the same moment for objects and nodes
 * (each has looked for TME_HEADROOM), or for a persistent page
 * (tme_page_new()), and for the growth of the slot allocator, or of a slab, by
 * one step.
 *
 * With the chunks, a client's part in what is freeable is counted, and the sum
 * of these of the host.
 *
 * Bounds.  Walks take at most TME_BATCH pages under a lock, end after TME_WORK
 * pages or when the port says so, and are then called again by the caller.
 *
 * Locks, outermost first; all are spinlocks, nothing sleeps under any of them:
 *
 *   client->lock	the states of its pools, its minimum
 *   shard->lock	hash, objects, indexes and numbers of the shard
 *   client->lru_lock	the list of ephemeral pages
 *
 * and host->lock, the list of clients and the choice of a victim, by itself:
 * nothing is locked inside of it.  The host may ask tme_freeable() under any
 * lock.
 *
 * put, get and flush take the last two, and try host->lock (tme_pick()).
 * No call holds the lock of two shards.
 */
#include "engine.h"
#include "index.h"

#define TME_SHARDS		64u		/* per pool; a power of 2 */
#define TME_CHAIN_MAX		64		/* objects in a bucket */
#define TME_BATCH		32		/* pages per lock hold of a walk */
#define TME_WORK		512		/* pages per call of a walk */
#define TME_LOOKS		4		/* at clients, to choose one */
#define TME_CHUNK_SHIFT		(PAGE_SHIFT + 3)
#define TME_CHUNK		(8 * PAGE_SIZE)	/* step of the host's total */
/* Evictions for one put: a chunk of pages that repeat a word is 670 */
#define TME_PUT_EVICTS		1024
#define TME_COMPRESSED_MAX	(PAGE_SIZE / 4 * 3) /* else stored raw */
#define TME_RAW			0xffffu		/* page->len of a frame */
/* Room for the objects and nodes of a put: 15 nodes for two far indices, ... */
#define TME_HEADROOM		(2 * PAGE_SIZE)

enum { TME_FREE, TME_BUSY, TME_LIVE, TME_DYING };	/* tme_pool.state */

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
	u16 len;			/* 0: one word; TME_RAW; or bytes of lz4 */
	bool pers;			/* which of client->slots */
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

/*
 * Accounting
 */

/* Rounded up; it may be below 0 for a moment, where a division rounds to 0 */
static long tme_chunks(long bytes)
{
	return (bytes + (long)TME_CHUNK - 1) >> TME_CHUNK_SHIFT;
}

/*
 * What eviction could take from the client, in frames: without @keep.  Only
 * whole chunks count, and not the last one: so it changes where the number of
 * chunks does.
 */
static long tme_client_freeable(struct tme_client *client)
{
	long chunks = tme_chunks(atomic_long_read(&client->used[0])) - 1;
	long frames = chunks * (long)(TME_CHUNK / PAGE_SIZE) -
		      READ_ONCE(client->keep);

	return frames > 0 ? frames : 0;
}

/*
 * Bring the host's sum up to date.  Again if the client's part has changed
 * again: what is added last must not be an older number.
 */
static void tme_count_freeable(struct tme_client *client)
{
	long now;

	while ((now = tme_client_freeable(client)) !=
	       READ_ONCE(client->freeable))
		atomic_long_add(now - xchg(&client->freeable, now),
				&client->host->freeable);
}

/* What is not to be evicted has changed.  Under client->lock */
static void tme_set_keep(struct tme_client *client)
{
	unsigned long keep = DIV_ROUND_UP(client->shards_bytes, PAGE_SIZE);

	if (keep < client->min)
		keep = client->min;
	WRITE_ONCE(client->keep, keep < LONG_MAX / 2 ? keep : LONG_MAX / 2);
	tme_count_freeable(client);
}

/* The client takes @chunks more, or less: once in many calls of tme_charge() */
static noinline void tme_charge_chunks(struct tme_client *client, bool pers,
				       long chunks)
{
	struct tme_host *host = client->host;

	atomic_long_add(chunks, &host->chunks[pers]);
	if (pers)
		return;
	tme_count_freeable(client);
	/* There is something to find now */
	if (chunks > 0 && READ_ONCE(host->barren))
		WRITE_ONCE(host->barren, false);
}

/*
 * Count @bytes, which may be negative.  Each step knows exactly from where to
 * where it took the client's number, so the sum of the chunks is exact as well.
 */
static void tme_charge(struct tme_client *client, bool pers, long bytes)
{
	long now, chunks;

	if (!bytes)
		return;
	now = atomic_long_add_return(bytes, &client->used[pers]);
	chunks = tme_chunks(now) - tme_chunks(now - bytes);
	if (chunks)
		tme_charge_chunks(client, pers, chunks);
}

/*
 * Count what the slot allocator has grown or shrunk by.  Again if it does so
 * meanwhile: what is counted last must not be an older number.  Return: bytes.
 */
static long tme_charge_slots(struct tme_client *client, bool pers)
{
	long now, bytes, sum = 0;

	while ((now = port_slots_frames(client->slots[pers])) !=
	       READ_ONCE(client->slot_frames[pers])) {
		bytes = now - xchg(&client->slot_frames[pers], now);
		bytes *= (long)PAGE_SIZE;
		tme_charge(client, pers, bytes);
		sum += bytes;
	}
	return sum;
}

static long tme_used(struct tme_client *client)
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

static bool tme_shard_pers(const struct tme_shard *shard)
{
	return shard->pool->flags & TME_POOL_PERSISTENT;
}

static void tme_meta_free(struct tme_shard *shard, enum port_cache cache,
			  long size, void *p)
{
	struct tme_client *client = shard->pool->client;
	bool pers = tme_shard_pers(shard);

	shard->stats.meta_bytes -= size;
	tme_charge(client, pers,
		   -port_cache_free(client->slots[pers], cache, p));
}

/* Objects and nodes: counted, within TME_HEADROOM; under the shard's lock */
static void *tme_meta_alloc(struct tme_shard *shard, enum port_cache cache,
			    long size)
{
	struct tme_client *client = shard->pool->client;
	bool pers = tme_shard_pers(shard);
	long bytes = 0;
	void *p = port_cache_alloc(client->slots[pers], cache, &bytes);

	if (!p)
		return NULL;
	shard->stats.meta_bytes += size;
	tme_charge(client, pers, bytes);
	return p;
}

struct tme_node *tme_node_alloc(struct tme_shard *shard)
{
	struct tme_node *node = tme_meta_alloc(shard, PORT_NODE, sizeof(*node));

	if (node)
		memset(node, 0, sizeof(*node));
	return node;
}

void tme_node_free(struct tme_shard *shard, struct tme_node *node)
{
	tme_meta_free(shard, PORT_NODE, sizeof(*node), node);
}

/*
 * Objects
 */

/*
 * The multilinear hash of Carter and Wegman over 32-bit words: keys of twice
 * the width, the upper half is the hash.  Whatever two ids somebody who does
 * not know the keys chooses, they collide with the chance of random numbers.
 * That is all it promises: ids in a row, as inode numbers are, hash to
 * multiples of a key, which for one key of 25 miss some shards, and for one of
 * some thousands fill some buckets up to TME_CHAIN_MAX.
 */
static inline u32 tme_hash(const struct tme_host *host, const u64 oid[3])
{
	const u64 *key = host->key;

	/* No loop: it would cost more than the rest */
	return (key[6] +
		key[0] * (u32)oid[0] + key[1] * (oid[0] >> 32) +
		key[2] * (u32)oid[1] + key[3] * (oid[1] >> 32) +
		key[4] * (u32)oid[2] + key[5] * (oid[2] >> 32)) >> 32;
}

/* How many objects are in a bucket: TME_CHAIN_MAX at most */
static unsigned int tme_chain_length(const struct tme_object *chain)
{
	unsigned int n = 0;

	for (; chain; chain = chain->next)
		n++;
	return n;
}

static u32 tme_bucket(const struct tme_shard *shard, u32 hash)
{
	u32 bucket = hash / TME_SHARDS & shard->mask;

	return bucket < shard->buckets ? bucket : bucket & (shard->mask >> 1);
}

static inline struct tme_object *tme_object_find(struct tme_shard *shard,
						 const u64 oid[3],
						 u32 hash)
{
	struct tme_object *obj;

	for (obj = tme_index_get(&shard->bucket, tme_bucket(shard, hash)); obj;
	     obj = obj->next)
		if (obj->oid[0] == oid[0] && obj->oid[1] == oid[1] &&
		    obj->oid[2] == oid[2])
			break;
	return obj;
}

/*
 * Make @chain what is in a bucket; NULL: nothing.  Return: 0 or -ENOMEM, but only
 * where something comes into a bucket that is empty.
 */
static int tme_bucket_set(struct tme_shard *shard, u32 bucket,
			  struct tme_object *chain)
{
	struct tme_index *ix = &shard->bucket;
	struct tme_place place = tme_index_find(ix, bucket);

	if (!tme_entry(place))
		return chain ? tme_index_insert(ix, place, shard, bucket, chain)
			     : 0;
	if (chain)
		*place.slot = chain;
	else
		tme_index_erase(ix, place, shard, bucket);
	return 0;
}

/* Linear hashing: split the next bucket; if memory is short, another time */
static void tme_hash_grow(struct tme_shard *shard)
{
	u32 mask = shard->buckets > shard->mask ? 2 * shard->mask + 1 :
						  shard->mask;
	u32 to = shard->buckets, from = to & (mask >> 1);
	struct tme_object *chain = tme_index_get(&shard->bucket, from);
	struct tme_object *obj, *stay = NULL, *move = NULL;

	for (obj = chain; obj; obj = obj->next)
		if ((obj->hash / TME_SHARDS & mask) == to)
			break;
	if (tme_bucket_set(shard, to, obj))
		return;

	if (obj) {
		while ((obj = chain)) {
			struct tme_object **head =
				(obj->hash / TME_SHARDS & mask) == to ? &move :
									&stay;

			chain = obj->next;
			obj->next = *head;
			*head = obj;
		}
		tme_bucket_set(shard, to, move);
		tme_bucket_set(shard, from, stay);
	}
	shard->mask = mask;
	shard->buckets++;
}

/*
 * ... and merge the last one; not now if that takes memory that is short, or
 * makes a chain too long
 */
static void tme_hash_shrink(struct tme_shard *shard)
{
	u32 from = shard->buckets - 1, to = from & (shard->mask >> 1);
	struct tme_object *chain = tme_index_get(&shard->bucket, from);
	struct tme_object *obj = tme_index_get(&shard->bucket, to);

	if (tme_chain_length(chain) + tme_chain_length(obj) > TME_CHAIN_MAX)
		return;
	if (chain && obj) {
		while (obj->next)
			obj = obj->next;
		obj->next = chain;
	} else if (chain && tme_bucket_set(shard, to, chain)) {
		return;
	}
	tme_bucket_set(shard, from, NULL);
	shard->buckets--;
	if (shard->buckets == (shard->mask >> 1) + 1)
		shard->mask >>= 1;
}

static struct tme_object *tme_object_new(struct tme_shard *shard,
					 const u64 oid[3], u32 hash)
{
	u32 bucket = tme_bucket(shard, hash);
	struct tme_object *chain = tme_index_get(&shard->bucket, bucket);
	struct tme_object *obj;

	if (tme_chain_length(chain) >= TME_CHAIN_MAX)
		return NULL;
	obj = tme_meta_alloc(shard, PORT_OBJECT, sizeof(*obj));
	if (!obj)
		return NULL;
	obj->oid[0] = oid[0];
	obj->oid[1] = oid[1];
	obj->oid[2] = oid[2];
	obj->hash = hash;
	obj->shard = shard;
	obj->pages = (struct tme_index){};
	obj->next = chain;
	if (tme_bucket_set(shard, bucket, obj)) {
		tme_meta_free(shard, PORT_OBJECT, sizeof(*obj), obj);
		return NULL;
	}
	if (++shard->nr == 1)
		atomic_long_inc(&shard->pool->shards_used);
	if (shard->nr > shard->buckets)
		tme_hash_grow(shard);
	return obj;
}

static void tme_object_free(struct tme_object *obj)
{
	struct tme_shard *shard = obj->shard;
	u32 bucket = tme_bucket(shard, obj->hash);
	struct tme_object *prev = tme_index_get(&shard->bucket, bucket);

	if (prev != obj) {
		while (prev->next != obj)
			prev = prev->next;
		prev->next = obj->next;
	} else {
		tme_bucket_set(shard, bucket, obj->next);
	}
	tme_meta_free(shard, PORT_OBJECT, sizeof(*obj), obj);
	if (!--shard->nr)
		atomic_long_add(-1, &shard->pool->shards_used);
	if (shard->nr < shard->buckets / 2)
		tme_hash_shrink(shard);
}

/*
 * Pages: what is in them, no lock held
 */

static bool tme_same_filled(const unsigned long *src, unsigned long *word)
{
	unsigned int i, last = PAGE_SIZE / sizeof(*src) - 1;

	*word = src[0];
	if (src[last] != *word)	/* often enough to look there first */
		return false;
	for (i = 1; i < last; i++)
		if (src[i] != *word)
			return false;
	return true;
}

/*
 * Return: length, or 0 if the page is better stored raw.  So it is when there is
 * no slot: a slot allocator may want several frames in a row.
 */
static int tme_compress(struct tme_client *client, const void *src, bool pers,
			unsigned long *slot)
{
	struct port_scratch *scratch = port_scratch_get();
	int len;

	len = port_compress(scratch, src, TME_COMPRESSED_MAX);
	if (len) {
		*slot = port_slot_alloc(client->slots[pers], scratch->buf, len,
					pers);
		if (!*slot)
			len = 0;
	}
	port_scratch_put(scratch);
	return len;
}

/* Both are aligned to a word: a compiler that is told so need not look */
static inline void tme_copy(void *dst, const void *src)
{
	struct words {
		unsigned long word[PAGE_SIZE / sizeof(long)];
	};

	*(struct words *)dst = *(const struct words *)src;
}

/* Return: bytes that the client takes less; negative if the slots have grown */
static __always_inline long __tme_page_free(struct tme_client *client,
					    struct tme_page *page)
{
	long bytes = 0, slots = 0;
	bool pers = page->pers;

	if (page->len == TME_RAW) {
		port_frame_free(page->data);
		bytes += PAGE_SIZE;
	} else if (page->len) {
		port_slot_free(client->slots[pers], page->data);
		slots = tme_charge_slots(client, pers);
	}
	bytes += port_cache_free(client->slots[pers], PORT_PAGE, page);
	tme_charge(client, pers, -bytes);
	return bytes - slots;
}

/* As above, where it is not most of the work */
static long tme_page_free(struct tme_client *client, struct tme_page *page)
{
	return __tme_page_free(client, page);
}

static void tme_page_free_list(struct tme_client *client,
			       struct list_head *list)
{
	struct tme_page *page, *next;

	list_for_each_entry_safe(page, next, list, lru)
		tme_page_free(client, page);
}

/* Copy a page out; it cannot change: it is unlinked, or its shard is locked */
static inline int tme_page_read(struct tme_client *client,
				const struct tme_page *page, void *dst)
{
	unsigned int i;
	void *src;
	int len;

	if (page->len == TME_RAW) {
		src = port_frame_map(page->data);
		tme_copy(dst, src);
		port_frame_unmap(src);
	} else if (page->len) {
		src = port_slot_map(client->slots[page->pers], page->data);
		len = port_decompress(src, page->len, dst);
		port_slot_unmap(client->slots[page->pers], page->data);
		if (WARN_ON_ONCE(len != PAGE_SIZE))
			return -EIO;
	} else {
		for (i = 0; i < PAGE_SIZE / sizeof(page->data); i++)
			((unsigned long *)dst)[i] = page->data;
	}
	return 0;
}

static int tme_make_room(struct tme_client *client, bool pers, long bytes);

/*
 * A descriptor with its copy of @src; counted, not yet linked.
 *
 * A frame of an ephemeral page is counted first, so the limits hold at all
 * times. One of a persistent page is counted last: a host may refuse its client
 * memory of another kind because of what is persistent, and must not do that
 * for a page that does not stay.  So puts of several CPUs may take a frame each
 * beyond a limit.
 */
static struct tme_page *tme_page_new(struct tme_client *client,
				     const void *src, bool pers)
{
	struct tme_page *page;
	int err = 0, len = 0;
	long bytes = 0, later;
	void *dst;

	page = port_cache_alloc(client->slots[pers], PORT_PAGE, &bytes);
	/* Others may have all memory: then it is their turn to give */
	if (!page && !tme_make_room(client, pers, 0))
		page = port_cache_alloc(client->slots[pers], PORT_PAGE, &bytes);
	if (!page)
		return ERR_PTR(-ENOMEM);
	page->pers = pers;
	if (!tme_same_filled(src, &page->data)) {
		if (READ_ONCE(client->compress)) {
			/* Also before the work, which may be for nothing */
			err = tme_make_room(client, pers, 0);
			if (!err)
				len = tme_compress(client, src, pers,
						   &page->data);
		}
		if (len) {
			tme_charge_slots(client, pers);
		} else {
			len = TME_RAW;
			bytes += PAGE_SIZE;
			if (!err && !pers && !port_keep_raw())
				err = -ENOMEM;
		}
	}
	page->len = len;

	later = pers ? bytes : 0;
	tme_charge(client, pers, bytes - later);
	if (!err)
		err = tme_make_room(client, pers, later);
	if (len == TME_RAW) {
		page->data = err ? 0 : port_frame_alloc(pers);
		if (page->data) {
			dst = port_frame_map(page->data);
			tme_copy(dst, src);
			port_frame_unmap(dst);
		} else {
			err = err ?: -ENOMEM;
			page->len = 0;
			later -= PAGE_SIZE;
		}
	}
	if (err) {
		if (page->len) {
			port_slot_free(client->slots[pers], page->data);
			tme_charge_slots(client, pers);
		}
		later -= port_cache_free(client->slots[pers], PORT_PAGE, page);
	}
	tme_charge(client, pers, later);
	return err ? ERR_PTR(err) : page;
}

/*
 * Pages: where they are, under the lock of the shard
 */

/* Count a page in (@n == 1) or out (@n == -1) */
static inline void tme_page_count(struct tme_shard *shard,
				  struct tme_page *page, int n)
{
	struct tme_stats *stats = &shard->stats;

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

static void tme_lru_add(struct tme_shard *shard, struct tme_page *page)
{
	struct tme_client *client = shard->pool->client;

	tme_page_count(shard, page, 1);
	if (!page->pers) {
		spin_lock(&client->lru_lock);
		if (!client->eph_pages && READ_ONCE(client->host->barren))
			WRITE_ONCE(client->host->barren, false);
		list_add_tail(&page->lru, &client->lru);
		WRITE_ONCE(client->eph_pages, client->eph_pages + 1);
		spin_unlock(&client->lru_lock);
	}
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

static void tme_lru_touch(struct tme_client *client, struct tme_page *page)
{
	spin_lock(&client->lru_lock);
	list_del(&page->lru);
	list_add_tail(&page->lru, &client->lru);
	spin_unlock(&client->lru_lock);
}

/* Where it is in its object */
static inline struct tme_place tme_page_place(struct tme_page *page)
{
	return tme_index_find(&page->object->pages, page->index);
}

static inline void tme_page_erase(struct tme_page *page, struct tme_place place)
{
	struct tme_object *obj = page->object;

	tme_index_erase(&obj->pages, place, obj->shard, page->index);
	if (!obj->pages.nr)
		tme_object_free(obj);
}

/* Off the list first: as long as it is on it, eviction may look at its object */
static inline void tme_page_unlink(struct tme_page *page, struct tme_place place)
{
	tme_lru_del(page->object->shard, page);
	tme_page_erase(page, place);
}

/*
 * Link @page under @obj at @place there, instead of the page that is there, if
 * any; then it cannot fail.  If @obj is NULL, so is @place.
 */
static int tme_page_link(struct tme_shard *shard, const u64 oid[3], u32 hash,
			 struct tme_object *obj, struct tme_page *page,
			 struct tme_place place)
{
	struct tme_page *old = tme_entry(place);

	if (!obj)
		obj = tme_object_new(shard, oid, hash);
	if (!obj)
		return -ENOMEM;
	if (old) {
		tme_lru_del(shard, old);
		*place.slot = page;
	} else if (tme_index_insert(&obj->pages, place, shard, page->index, page)) {
		return -ENOMEM;		/* not the object's first page */
	}
	page->object = obj;
	tme_lru_add(shard, page);
	return 0;
}

/*
 * Eviction
 */

static bool tme_dry(struct tme_client *client)
{
	u32 round = READ_ONCE(client->host->dry);

	return round % 2 && READ_ONCE(client->dry) == round;
}

enum { TME_NOTHING, TME_DRY, TME_EXCESS };	/* tme_excess(), at least */

/*
 * How much ephemeral memory the client has for its weight; TME_NOTHING when
 * none can be taken from it.  The client that has most is evicted from, so
 * under contention the clients come to hold memory as their weights are.  It is
 * the memory that counts, not the pages: one that repeats a word takes nearly
 * none.
 *
 * A client whose evicted pages gave no memory, because they lie scattered in
 * its slabs, is dry: it comes last, until another client gives some.  All
 * clients that are dry have to be known, or two of them would take turns; and
 * not for longer, or to be dry would be to be safe.
 */
static u64 tme_excess(struct tme_client *client)
{
	/* It may be below 0 for a moment */
	long used = atomic_long_read(&client->used[0]);

	if (!READ_ONCE(client->eph_pages) || used <= 0 ||
	    (unsigned long)used / PAGE_SIZE <= READ_ONCE(client->min))
		return TME_NOTHING;
	if (tme_dry(client))
		return TME_DRY;
	return TME_EXCESS +
	       (u64)used * TME_WEIGHT_DEFAULT / READ_ONCE(client->weight);
}

struct tme_choice {
	struct tme_client *client;	/* NULL: there is none to evict from */
	u64 excess;			/* of @client */
};

static void tme_consider(struct tme_choice *best, struct tme_client *client)
{
	u64 excess;

	if (!client || client == best->client)
		return;
	excess = tme_excess(client);
	if (excess > best->excess) {
		best->client = client;
		best->excess = excess;
	}
}

/* The next one in turn of the host's clients, of which there is one at least */
static struct tme_client *tme_next(struct tme_host *host)
{
	host->hand = host->hand->next;
	if (host->hand == &host->clients)
		host->hand = host->hand->next;
	return list_entry(host->hand, struct tme_client, node);
}

/*
 * Choose the client to evict from, under host->lock.
 *
 * To look at all clients takes too long where there are many.  So the last
 * victim competes with the next TME_LOOKS clients only, and with @own, which
 * wants the memory and may be NULL.  The client that has most is found before
 * the hand has gone round, and stays the victim until another one has more.  As
 * a client grows by its own puts, and is looked at in these, that takes no time
 * mostly.
 *
 * Where none of them has a page that gives memory, the hand goes on; but once
 * it has been round in vain, not for a put before some client has got more.
 *
 * Return: NULL when nobody has a page.
 */
static struct tme_client *tme_choose(struct tme_host *host,
				     struct tme_client *own)
{
	struct tme_choice best = { .excess = TME_NOTHING };
	unsigned int looks;

	tme_consider(&best, host->victim);
	tme_consider(&best, own);
	for (looks = 0; looks < host->nr_clients; looks++) {
		if (looks >= TME_LOOKS &&
		    (best.excess > TME_DRY || (own && READ_ONCE(host->barren))))
			break;
		tme_consider(&best, tme_next(host));
	}
	/* All are dry: the one that has most comes first again */
	if (best.excess == TME_DRY && looks == host->nr_clients)
		WRITE_ONCE(host->dry, READ_ONCE(host->dry) + 1);
	WRITE_ONCE(host->barren, !best.client);
	/* Made by another CPU perhaps: pairs with tme_pick_last() */
	smp_store_release(&host->victim, best.client);
	return best.client;
}

/*
 * The client that was chosen last, or @own, whichever has more; NULL: neither
 * has a page.  Without the lock: a client that is going away has to wait for
 * this look, see tme_wait_for_pickers().
 */
static struct tme_client *tme_pick_last(struct tme_host *host,
					struct tme_client *own)
{
	atomic_long_t *picking = &own->picking[READ_ONCE(host->phase) & 1];
	struct tme_choice best = { .excess = TME_NOTHING };

	/* Ordered: pairs with the one in tme_wait_for_pickers() */
	atomic_long_add_return(1, picking);
	/* Pairs with the release in tme_choose() */
	tme_consider(&best, smp_load_acquire(&host->victim));
	tme_consider(&best, own);
	if (best.client)
		atomic_long_inc(&best.client->evictors);
	/* Ordered, as above: the client has its evictor before this */
	atomic_long_add_return(-1, picking);
	return best.client;
}

/* Under host->lock */
static void tme_wait_for_phase(struct tme_host *host, u32 phase)
{
	struct tme_client *client;

	list_for_each_entry(client, &host->clients, node)
		while (atomic_long_add_return(0, &client->picking[phase & 1]))
			cpu_relax();
}

/*
 * A client is not the victim any more.  Wait, under host->lock, until no put is
 * left in tme_pick_last() that has seen it there.  One that is not counted yet
 * when we look sees the new victim.  As in SRCU: first those that took long to
 * count after an earlier turn of the phase, then those of this phase.  New ones
 * count in the other, so neither takes longer than one look of each CPU.
 */
static void tme_wait_for_pickers(struct tme_host *host)
{
	u32 phase = host->phase;

	tme_wait_for_phase(host, phase + 1);
	/* A put that counts in the new phase sees the new victim */
	smp_store_release(&host->phase, phase + 1);
	tme_wait_for_phase(host, phase);
}

/* Under host->lock.  The more clients there are, the more puts take the same */
static struct tme_client *tme_pick_locked(struct tme_host *host,
					  struct tme_client *own)
{
	struct tme_client *victim = host->victim;

	if (host->quota && victim && tme_excess(victim) > TME_DRY) {
		host->quota--;
	} else {
		victim = tme_choose(host, own);
		host->quota = host->nr_clients / TME_LOOKS;
		if (host->quota > TME_BATCH)
			host->quota = TME_BATCH;
	}
	if (victim)
		atomic_long_inc(&victim->evictors);
	return victim;
}

/*
 * Choose a client to evict from for @client's put, and keep it from going away
 * until tme_unpick().  Return: NULL when nobody has a page, or when that is not
 * known yet, because another one is choosing.
 */
static struct tme_client *tme_pick(struct tme_client *client)
{
	struct tme_host *host = client->host;
	struct tme_client *victim;

	if (!spin_trylock(&host->lock))
		return tme_pick_last(host, client);
	victim = tme_pick_locked(host, client);
	spin_unlock(&host->lock);
	return victim;
}

/* It gave back so many @bytes */
static void tme_unpick(struct tme_client *victim, long bytes)
{
	struct tme_host *host = victim->host;
	u32 round = READ_ONCE(host->dry), next = round;

	if (bytes <= 0) {
		next |= 1;
		WRITE_ONCE(victim->dry, next);
	} else if (round % 2) {
		next++;
	}
	if (next != round)
		WRITE_ONCE(host->dry, next);
	/* Ordered: pairs with the one in tme_client_destroy() */
	atomic_long_add_return(-1, &victim->evictors);
}

/* Where the client's oldest page is, under lru_lock; NULL when it has none */
static struct tme_shard *tme_oldest_shard(struct tme_client *client)
{
	struct tme_page *page;

	if (list_empty(&client->lru))
		return NULL;
	page = list_entry(client->lru.next, struct tme_page, lru);
	return page->object->shard;
}

/*
 * Evict the client's oldest ephemeral page, and add the memory that this gave
 * back to @bytes, if not NULL.  Not below its minimum, but for a put of its @own.
 *
 * From the list the shard's lock can only be tried.  If it is busy, wait for it
 * without the list's, and then look whether the oldest page is still there: so
 * a client that keeps its shards busy does not keep its pages.  The shard is
 * memory of the client's, which stays (tme_pick()).  False also when the oldest
 * page was in another shard each time.
 */
static bool tme_evict_one(struct tme_client *client, bool own, long *bytes)
{
	struct tme_shard *shard, *next;
	struct tme_page *page;
	long freed;
	int tries;

	if (!own && tme_excess(client) == TME_NOTHING)
		return false;
	spin_lock(&client->lru_lock);
	shard = tme_oldest_shard(client);
	if (shard && spin_trylock(&shard->lock))
		goto found;
	for (tries = 0; shard && tries < TME_BATCH; tries++) {
		spin_unlock(&client->lru_lock);
		spin_lock(&shard->lock);
		spin_lock(&client->lru_lock);
		next = tme_oldest_shard(client);
		if (next == shard)
			goto found;
		spin_unlock(&shard->lock);
		shard = next;
	}
	spin_unlock(&client->lru_lock);
	return false;

found:
	page = list_entry(client->lru.next, struct tme_page, lru);
	list_del(&page->lru);
	WRITE_ONCE(client->eph_pages, client->eph_pages - 1);
	spin_unlock(&client->lru_lock);
	tme_page_count(shard, page, -1);
	tme_page_erase(page, tme_page_place(page));
	shard->stats.evicted++;
	spin_unlock(&shard->lock);
	freed = tme_page_free(client, page);
	if (bytes)
		*bytes += freed;
	return true;
}

/* Return: 0 when there is room for a put, or what it fails with */
static inline int tme_lacks_room(struct tme_client *client, bool pers,
				 long bytes)
{
	int err = tme_over(client, pers, bytes + TME_HEADROOM);

	return err ?: port_short() ? -ENOMEM : 0;
}

/* What tme_make_room() does when there is too little: @err says of what */
static int tme_evict_for(struct tme_client *client, bool pers, long room,
			 int err)
{
	struct tme_client *victim = NULL;
	long bytes = 0;
	int work;

	for (work = 0; err && work < TME_PUT_EVICTS; work++,
	     err = tme_lacks_room(client, pers, room)) {
		if (err == -EDQUOT) {
			if (!tme_evict_one(client, true, NULL) &&
			    !READ_ONCE(client->eph_pages))
				break;
			continue;
		}
		/* Which client is most above its share changes with time */
		if (victim && !(work % TME_BATCH)) {
			tme_unpick(victim, bytes);
			victim = NULL;
			bytes = 0;
		}
		if (!victim)
			victim = tme_pick(client);
		if (!victim && READ_ONCE(client->host->barren))
			break;
		if (!victim)
			cpu_relax();
		if (!victim || !tme_evict_one(victim, false, &bytes))
			work |= TME_BATCH - 1;	/* look for another */
	}
	if (victim)
		tme_unpick(victim, bytes);
	/* Linux may have compacted the slots, which nobody has counted */
	if (err && (tme_charge_slots(client, false) |
		    tme_charge_slots(client, true)))
		err = tme_lacks_room(client, pers, room);
	return err;
}

/*
 * Bring @client and its host back under their limits, with @bytes more that are
 * not counted yet, and leave the port what it wants to have spare, by
 * TME_PUT_EVICTS evictions or less.  Mostly it takes one; but pages that take
 * next to nothing can lie ahead of others, and slots come in sizes.  Return: 0;
 * -EDQUOT over its cap, -ENOMEM otherwise, and then the put that wanted the
 * room has to fail.
 */
static inline int tme_make_room(struct tme_client *client, bool pers,
				long bytes)
{
	int err = tme_lacks_room(client, pers, bytes);

	return err ? tme_evict_for(client, pers, bytes, err) : 0;
}

/**
 * tme_evict() - drop ephemeral pages
 * @host: the machine
 * @nr: how many pages at most
 * @bytes: how much memory that gave back is added here; may be NULL
 *
 * Takes them from the client most above its share at that time, as far as that
 * is known (tme_choose()), the oldest first.  If this gives no memory, or no
 * page, the next ones are another client's.
 *
 * Return: how many it dropped; fewer than @nr when there are no more, when
 * others dropped them first TME_BATCH times, or when the port said to stop.
 */
unsigned long tme_evict(struct tme_host *host, unsigned long nr, long *bytes)
{
	unsigned long done = 0, last;
	int vain = 0;

	while (done < nr && vain < TME_BATCH) {
		struct tme_client *victim;
		long freed = 0;

		spin_lock(&host->lock);
		victim = tme_choose(host, NULL);
		if (victim)
			atomic_long_inc(&victim->evictors);
		spin_unlock(&host->lock);
		if (!victim)
			break;
		last = done;
		while (done < nr && done - last < TME_BATCH &&
		       tme_evict_one(victim, false, &freed))
			done++;
		if (bytes)
			*bytes += freed;
		tme_unpick(victim, freed);
		/* Others were faster: then the next client */
		if (done == last)
			vain++;
		else if (port_should_stop())
			break;
	}
	return done;
}
EXPORT_SYMBOL_GPL(tme_evict);

/**
 * tme_evictable() - how many pages tme_evict() could drop
 * @host: the machine
 *
 * Return: the number of ephemeral pages, which may change at any time.
 */
unsigned long tme_evictable(struct tme_host *host)
{
	struct tme_client *client;
	unsigned long nr = 0;

	spin_lock(&host->lock);
	list_for_each_entry(client, &host->clients, node)
		nr += READ_ONCE(client->eph_pages);
	spin_unlock(&host->lock);
	return nr;
}
EXPORT_SYMBOL_GPL(tme_evictable);

/**
 * tme_freeable() - how much memory tme_evict() could give back
 * @host: the machine
 *
 * Context: any; takes no lock, and as long for many clients as for one.
 * Return: frames, with those of the metadata, but neither the clients' minima nor
 * their shards; up to TME_CHUNK too little for each client.
 */
unsigned long tme_freeable(struct tme_host *host)
{
	/* It may be below 0 for a moment */
	long frames = atomic_long_read(&host->freeable);

	return frames > 0 ? frames : 0;
}
EXPORT_SYMBOL_GPL(tme_freeable);

/*
 * Pools
 */

/* Under the lock of any of its shards: the pool is alive and stays so */
static bool tme_pool_live(struct tme_pool *pool)
{
	/* Pairs with the release in tme_new_pool() */
	return smp_load_acquire(&pool->state) == TME_LIVE;
}

/* The number comes from a client: it may be anything */
static struct tme_pool *tme_pool(struct tme_client *client, u32 id)
{
	if (id >= TME_MAX_POOLS)
		return NULL;
	return &client->pool[tme_clamp(id, TME_MAX_POOLS)];
}

/* As above, or NULL if the pool is not alive */
static struct tme_pool *tme_pool_find(struct tme_client *client, u32 id)
{
	struct tme_pool *pool = tme_pool(client, id);

	return pool && tme_pool_live(pool) ? pool : NULL;
}

/*
 * Where an object is, if anywhere.  If the pool is destroyed now, the shard is
 * found empty, which is as good.
 */
static inline struct tme_shard *tme_shard(struct tme_client *client,
					  struct tme_pool *pool,
					  const u64 oid[3], u32 *hash)
{
	*hash = tme_hash(client->host, oid);
	return &pool->shards[*hash % TME_SHARDS];
}

/* Count the shards of @n pools more, which stay until the client goes */
static void tme_charge_shards(struct tme_client *client, int n)
{
	spin_lock(&client->lock);
	client->shards_bytes += n * TME_SHARDS_BYTES;
	tme_set_keep(client);
	spin_unlock(&client->lock);
	tme_charge(client, false, n * TME_SHARDS_BYTES);
}

static int tme_shards_new(struct tme_pool *pool)
{
	struct tme_client *client = pool->client;
	struct tme_shard *shards = NULL;
	unsigned int i;
	int err;

	tme_charge_shards(client, 1);
	err = tme_make_room(client, false, 0);
	if (!err)
		shards = port_zalloc(TME_SHARDS_BYTES);
	if (!shards) {
		tme_charge_shards(client, -1);
		return err ?: -ENOMEM;
	}
	for (i = 0; i < TME_SHARDS; i++) {
		spin_lock_init(&shards[i].lock);
		shards[i].buckets = 1;
		shards[i].pool = pool;
	}
	shards[0].stats.meta_bytes = TME_SHARDS_BYTES;
	/* For tme_client_stats(), which looks at pools in any state */
	smp_store_release(&pool->shards, shards);
	return 0;
}

/**
 * tme_new_pool() - make a pool
 * @client: for this client
 * @flags: 0, TME_POOL_PERSISTENT or TME_POOL_SHARED
 *
 * Context: may sleep.
 * Return: its id, the lowest that is free; -EINVAL for other flags, -ENOSPC
 * when all are in use, -EDQUOT when the client is at its cap, -ENOMEM.
 */
int tme_new_pool(struct tme_client *client, u32 flags)
{
	struct tme_pool *pool;
	int id, err;

	if (flags && flags != TME_POOL_PERSISTENT && flags != TME_POOL_SHARED)
		return -EINVAL;

	spin_lock(&client->lock);
	for (id = 0; id < TME_MAX_POOLS; id++)
		if (READ_ONCE(client->pool[id].state) == TME_FREE)
			break;
	if (id < TME_MAX_POOLS)
		WRITE_ONCE(client->pool[id].state, TME_BUSY);
	spin_unlock(&client->lock);
	if (id == TME_MAX_POOLS)
		return -ENOSPC;

	pool = &client->pool[id];
	err = pool->shards ? 0 : tme_shards_new(pool);
	if (err) {
		WRITE_ONCE(pool->state, TME_FREE);
		return err;
	}
	WRITE_ONCE(pool->flags, flags);
	pool->drained = 0;
	/* From here on the pool is used; pairs with tme_pool_live() */
	smp_store_release(&pool->state, TME_LIVE);
	return id;
}
EXPORT_SYMBOL_GPL(tme_new_pool);

/* Unlink up to @nr pages of @obj.  Return: how many; @obj may be gone */
static u32 tme_object_reap(struct tme_object *obj, struct list_head *list,
			   u32 nr)
{
	struct tme_shard *shard = obj->shard;
	u32 n = 0, all = obj->pages.nr < nr ? obj->pages.nr : nr;

	for (; n < all; n++) {
		struct tme_page *page = tme_index_first(&obj->pages);

		tme_page_unlink(page, tme_page_place(page));
		list_add_tail(&page->lru, list);
	}
	shard->stats.flushed += n;
	return n;
}

/* After @nr pages more: is this enough for one call? */
static bool tme_enough(int *work, u32 nr)
{
	*work -= nr;
	return *work <= 0 || port_should_stop();
}

/* Drop all pages of a dying pool.  Return: 0, -EAGAIN when there are more */
static int tme_pool_drain(struct tme_pool *pool, int *work)
{
	while (pool->drained < TME_SHARDS) {
		struct tme_shard *shard = &pool->shards[pool->drained];
		struct tme_object *obj;
		LIST_HEAD(list);
		u32 n = 0;

		spin_lock(&shard->lock);
		while (n < TME_BATCH && (obj = tme_index_first(&shard->bucket)))
			n += tme_object_reap(obj, &list, TME_BATCH - n);
		spin_unlock(&shard->lock);
		tme_page_free_list(pool->client, &list);
		if (n < TME_BATCH)
			pool->drained++;
		if (n && tme_enough(work, n))
			return -EAGAIN;
	}
	return 0;
}

/* Destroy a pool that is LIVE or DYING; others wait for the first */
static int __tme_destroy_pool(struct tme_pool *pool, int *work)
{
	struct tme_client *client = pool->client;
	int state, err;

	spin_lock(&client->lock);
	/* Who made it live had no lock: pairs with the release in tme_new_pool() */
	state = smp_load_acquire(&pool->state);
	if (state == TME_LIVE || state == TME_DYING)
		WRITE_ONCE(pool->state, TME_BUSY);
	spin_unlock(&client->lock);
	if (state == TME_FREE)
		return -EINVAL;
	if (state == TME_BUSY)
		return -EAGAIN;

	err = tme_pool_drain(pool, work);
	spin_lock(&client->lock);
	WRITE_ONCE(pool->state, err ? TME_DYING : TME_FREE);
	spin_unlock(&client->lock);
	return err;
}

/**
 * tme_destroy_pool() - drop a pool and all that is in it
 * @client: the client
 * @pool: its id; as soon as this is called, other calls do not find it
 *
 * Return: 0, and the id may be given out again; -EAGAIN when there is more to
 * do: call again; -EINVAL when there is no such pool.
 */
int tme_destroy_pool(struct tme_client *client, u32 pool)
{
	struct tme_pool *p = tme_pool(client, pool);
	int work = TME_WORK;

	return p ? __tme_destroy_pool(p, &work) : -EINVAL;
}
EXPORT_SYMBOL_GPL(tme_destroy_pool);

/**
 * tme_pool_flags() - what kind of pool is it?
 * @client: the client
 * @pool: its id
 *
 * Return: 0 or TME_POOL_*; -EINVAL when there is no such pool.
 */
int tme_pool_flags(struct tme_client *client, u32 pool)
{
	struct tme_pool *p = tme_pool_find(client, pool);

	return p ? (int)READ_ONCE(p->flags) : -EINVAL;
}
EXPORT_SYMBOL_GPL(tme_pool_flags);

/**
 * tme_pool_empty() - does a pool hold no page at all?
 * @client: the client
 * @pool: its id
 *
 * Return: true also when there is no such pool.
 */
bool tme_pool_empty(struct tme_client *client, u32 pool)
{
	struct tme_pool *p = tme_pool_find(client, pool);

	return !p || !atomic_long_read(&p->shards_used);
}
EXPORT_SYMBOL_GPL(tme_pool_empty);

/*
 * Put, get, flush
 */

/**
 * tme_put() - copy a page in
 * @client: the client
 * @pool: id of a pool
 * @oid: object
 * @index: page of the object
 * @src: PAGE_SIZE bytes, aligned to a word, that do not change meanwhile (a host
 *	that cannot be sure of that has to copy them first)
 *
 * Takes the place of a page that is there.
 *
 * Context: may allocate memory, without waiting for any.
 * Return: 0; -EINVAL when there is no such pool; -EDQUOT when the client is
 * at its cap; -ENOMEM; -ENOSPC instead of these two when there was a page.  After
 * an error there is no page under this handle.
 */
int tme_put(struct tme_client *client, u32 pool, const u64 oid[3], u32 index,
	    const void *src)
{
	struct tme_pool *p = tme_pool_find(client, pool);
	struct tme_page *page, *old;
	struct tme_place place = {};
	struct tme_object *obj;
	struct tme_shard *shard;
	u32 hash;
	int err;

	if (!p)
		return -EINVAL;
	shard = tme_shard(client, p, oid, &hash);
	page = tme_page_new(client, src,
			    READ_ONCE(p->flags) & TME_POOL_PERSISTENT);
	err = PTR_ERR_OR_ZERO(page);

	spin_lock(&shard->lock);
	/* It may be gone, or be another one by now */
	if (!err && (!tme_pool_live(p) || page->pers != tme_shard_pers(shard)))
		err = -EINVAL;
	obj = tme_object_find(shard, oid, hash);
	if (obj)
		place = tme_index_find(&obj->pages, index);
	old = tme_entry(place);
	if (!err) {
		page->index = index;
		err = tme_page_link(shard, oid, hash, obj, page, place);
	} else if (old) {
		tme_page_unlink(old, place);
		err = -ENOSPC;
	}
	shard->stats.puts++;
	if (err)
		shard->stats.put_fails++;
	spin_unlock(&shard->lock);

	if (old)
		tme_page_free(client, old);
	if (err && !IS_ERR(page))
		tme_page_free(client, page);
	return err;
}
EXPORT_SYMBOL_GPL(tme_put);

static inline struct tme_place tme_page_find(struct tme_shard *shard,
					     const u64 oid[3],
					     u32 hash, u32 index)
{
	struct tme_object *obj = tme_object_find(shard, oid, hash);

	return obj ? tme_index_find(&obj->pages, index) : (struct tme_place){};
}

/**
 * tme_lookup() - is there a page to get?
 * @client: the client
 * @pool: id of a pool
 * @oid: object
 * @index: page of the object
 *
 * For who would do much in vain before a get.  That there is none counts as one.
 *
 * Return: 0; -ENOENT when there is no such page; -EINVAL when there is no such
 * pool.
 */
int tme_lookup(struct tme_client *client, u32 pool, const u64 oid[3], u32 index)
{
	struct tme_pool *p = tme_pool_find(client, pool);
	struct tme_shard *shard;
	int err = 0;
	u32 hash;

	if (!p)
		return -EINVAL;
	shard = tme_shard(client, p, oid, &hash);
	spin_lock(&shard->lock);
	if (!tme_entry(tme_page_find(shard, oid, hash, index))) {
		shard->stats.gets++;
		err = -ENOENT;
	}
	spin_unlock(&shard->lock);
	return err;
}
EXPORT_SYMBOL_GPL(tme_lookup);

/**
 * tme_get() - copy a page out
 * @client: the client
 * @pool: id of a pool
 * @oid: object
 * @index: page of the object
 * @dst: PAGE_SIZE bytes, aligned to a word; undefined after an error
 *
 * A page of an ephemeral pool is removed.  One of a persistent pool stays, and
 * so does one of a shared pool, as the last one to be evicted.
 *
 * Return: 0; -ENOENT when there is no such page; -EIO when it was corrupted in
 * memory; -EINVAL when there is no such pool.
 */
int tme_get(struct tme_client *client, u32 pool, const u64 oid[3], u32 index,
	    void *dst)
{
	struct tme_pool *p = tme_pool_find(client, pool);
	struct tme_place place;
	struct tme_page *page;
	struct tme_shard *shard;
	u32 hash;
	int err;

	if (!p)
		return -EINVAL;
	shard = tme_shard(client, p, oid, &hash);
	spin_lock(&shard->lock);
	place = tme_page_find(shard, oid, hash, index);
	page = tme_entry(place);
	shard->stats.gets++;
	if (!page) {
		spin_unlock(&shard->lock);
		return -ENOENT;
	}
	shard->stats.hits++;
	if (READ_ONCE(shard->pool->flags)) {
		err = tme_page_read(client, page, dst);
		if (!page->pers)
			tme_lru_touch(client, page);
		spin_unlock(&shard->lock);
		return err;
	}
	tme_page_unlink(page, place);
	spin_unlock(&shard->lock);

	err = tme_page_read(client, page, dst);
	__tme_page_free(client, page);
	return err;
}
EXPORT_SYMBOL_GPL(tme_get);

/**
 * tme_flush_page() - drop a page
 * @client: the client
 * @pool: id of a pool
 * @oid: object
 * @index: page of the object
 *
 * Return: 0; -ENOENT when there is no such page; -EINVAL when there is no such
 * pool.
 */
int tme_flush_page(struct tme_client *client, u32 pool, const u64 oid[3],
		   u32 index)
{
	struct tme_pool *p = tme_pool_find(client, pool);
	struct tme_place place;
	struct tme_page *page;
	struct tme_shard *shard;
	u32 hash;

	if (!p)
		return -EINVAL;
	shard = tme_shard(client, p, oid, &hash);
	spin_lock(&shard->lock);
	place = tme_page_find(shard, oid, hash, index);
	page = tme_entry(place);
	if (page) {
		shard->stats.flushed++;
		tme_page_unlink(page, place);
	}
	spin_unlock(&shard->lock);

	if (!page)
		return -ENOENT;
	__tme_page_free(client, page);
	return 0;
}
EXPORT_SYMBOL_GPL(tme_flush_page);

/**
 * tme_flush_object() - drop all pages of an object
 * @client: the client
 * @pool: id of a pool
 * @oid: object
 *
 * Return: 0; -ENOENT when there is no page; -EAGAIN when there may be more:
 * call again; -EINVAL when there is no such pool.
 */
int tme_flush_object(struct tme_client *client, u32 pool, const u64 oid[3])
{
	struct tme_pool *p = tme_pool_find(client, pool);
	int err = -ENOENT, work = TME_WORK;
	struct tme_shard *shard;
	u32 hash;

	if (!p)
		return -EINVAL;
	shard = tme_shard(client, p, oid, &hash);
	for (;;) {
		struct tme_object *obj;
		LIST_HEAD(list);

		spin_lock(&shard->lock);
		obj = tme_object_find(shard, oid, hash);
		if (obj) {
			err = obj->pages.nr > TME_BATCH ? -EAGAIN : 0;
			tme_object_reap(obj, &list, TME_BATCH);
		} else if (err == -EAGAIN) {
			err = 0;	/* somebody else dropped the rest */
		}
		spin_unlock(&shard->lock);
		tme_page_free_list(client, &list);
		if (err != -EAGAIN)
			return err;
		if (tme_enough(&work, TME_BATCH))
			return err;
	}
}
EXPORT_SYMBOL_GPL(tme_flush_object);

/*
 * Clients and hosts
 */

/**
 * tme_client_init() - make a client
 * @host: its machine
 * @client: memory of the caller, which stays its until tme_client_destroy()
 *	returned 0
 *
 * No cap, no minimum, the default weight, no compression, no pools.
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int tme_client_init(struct tme_host *host, struct tme_client *client)
{
	int id;

	memset(client, 0, sizeof(*client));
	client->slots[0] = port_slots_create();
	if (!client->slots[0])
		return -ENOMEM;
	client->slots[1] = port_slots_create();
	if (!client->slots[1]) {
		port_slots_destroy(client->slots[0]);
		return -ENOMEM;
	}
	client->host = host;
	client->cap = ULONG_MAX;
	client->weight = TME_WEIGHT_DEFAULT;
	for (id = 0; id < TME_MAX_POOLS; id++)
		client->pool[id].client = client;
	spin_lock_init(&client->lock);
	spin_lock_init(&client->lru_lock);
	INIT_LIST_HEAD(&client->lru);

	spin_lock(&host->lock);
	list_add_tail(&client->node, &host->clients);
	host->nr_clients++;
	spin_unlock(&host->lock);
	return 0;
}
EXPORT_SYMBOL_GPL(tme_client_init);

/**
 * tme_client_destroy() - drop a client and all that it has
 * @client: no other call for it may be running, or come, from the first call
 *	of this on
 *
 * Context: may sleep.
 * Return: 0; -EAGAIN when there is more to do, or somebody is evicting from
 * it: call again.
 */
int tme_client_destroy(struct tme_client *client)
{
	struct tme_host *host = client->host;
	int id, err, work = TME_WORK;
	bool first = false;

	/* From here on nobody else can choose to evict from it */
	spin_lock(&host->lock);
	if (!list_empty(&client->node)) {
		if (host->hand == &client->node)
			host->hand = client->node.prev;
		if (host->victim == client)
			WRITE_ONCE(host->victim, NULL);
		list_del_init(&client->node);
		host->nr_clients--;
		tme_wait_for_pickers(host);
		first = true;
	}
	spin_unlock(&host->lock);
	/* ... nor count on what it has */
	if (first)
		tme_client_set_min(client, ULONG_MAX);

	for (id = 0; id < TME_MAX_POOLS; id++) {
		if (!client->pool[id].shards)
			continue;
		err = __tme_destroy_pool(&client->pool[id], &work);
		if (err == -EAGAIN)
			return err;
	}
	/* Ordered: pairs with the one in tme_unpick() */
	if (atomic_long_add_return(0, &client->evictors))
		return -EAGAIN;

	for (id = 0; id < TME_MAX_POOLS; id++) {
		if (!client->pool[id].shards)
			continue;
		port_free(client->pool[id].shards);
		tme_charge_shards(client, -1);
	}
	tme_charge_slots(client, false);
	tme_charge_slots(client, true);
	WARN_ON_ONCE(tme_used(client));
	port_slots_destroy(client->slots[0]);
	port_slots_destroy(client->slots[1]);
	return 0;
}
EXPORT_SYMBOL_GPL(tme_client_destroy);

/**
 * tme_client_set_cap() - limit the memory that a client may take
 * @client: the client
 * @frames: all that is counted against it, in frames
 *
 * A lower cap than what it has takes effect by and by, with each put.
 */
void tme_client_set_cap(struct tme_client *client, unsigned long frames)
{
	WRITE_ONCE(client->cap, frames);
}
EXPORT_SYMBOL_GPL(tme_client_set_cap);

/**
 * tme_client_set_weight() - give a client its share of ephemeral memory
 * @client: the client
 * @weight: not 0; under contention clients hold memory as their weights are
 */
void tme_client_set_weight(struct tme_client *client, u32 weight)
{
	WRITE_ONCE(client->weight, weight);
}
EXPORT_SYMBOL_GPL(tme_client_set_weight);

/**
 * tme_client_set_min() - guarantee a client some ephemeral memory
 * @client: the client
 * @frames: others' puts do not evict from it while it has no more than that
 */
void tme_client_set_min(struct tme_client *client, unsigned long frames)
{
	spin_lock(&client->lock);
	WRITE_ONCE(client->min, frames);
	tme_set_keep(client);
	spin_unlock(&client->lock);
	WRITE_ONCE(client->host->barren, false);
}
EXPORT_SYMBOL_GPL(tme_client_set_min);

/**
 * tme_client_set_compress() - turn compression of new pages on or off
 * @client: the client
 * @on: compress?
 */
void tme_client_set_compress(struct tme_client *client, bool on)
{
	WRITE_ONCE(client->compress, on);
}
EXPORT_SYMBOL_GPL(tme_client_set_compress);

/**
 * tme_client_stats() - read a client's numbers
 * @client: the client
 * @stats: where to
 *
 * Locks one shard after the other: the numbers of a busy client need not agree.
 */
void tme_client_stats(struct tme_client *client, struct tme_stats *stats)
{
	u64 *sum = (u64 *)stats;
	struct tme_shard *shard;
	unsigned int i, j, id;

	memset(stats, 0, sizeof(*stats));
	for (id = 0; id < TME_MAX_POOLS; id++) {
		/* Pairs with the release in tme_shards_new() */
		shard = smp_load_acquire(&client->pool[id].shards);

		for (i = 0; shard && i < TME_SHARDS; i++, shard++) {
			const u64 *add = (const u64 *)&shard->stats;

			spin_lock(&shard->lock);
			for (j = 0; j < sizeof(*stats) / sizeof(*sum); j++)
				sum[j] += add[j];
			spin_unlock(&shard->lock);
		}
	}
	stats->slot_frames = READ_ONCE(client->slot_frames[0]) +
			     READ_ONCE(client->slot_frames[1]);
	stats->used_bytes = tme_used(client);
	stats->pers_bytes = atomic_long_read(&client->used[1]);
}
EXPORT_SYMBOL_GPL(tme_client_stats);

/**
 * tme_client_frames() - how much memory a client takes
 * @client: the client
 * @pers: for persistent pages, which only the client can give back; otherwise
 *	for ephemeral ones, which eviction can
 *
 * Return: data and metadata, in frames.
 */
unsigned long tme_client_frames(struct tme_client *client, bool pers)
{
	/* It may be below 0 for a moment */
	long bytes = atomic_long_read(&client->used[pers]);

	return bytes > 0 ? DIV_ROUND_UP((unsigned long)bytes, PAGE_SIZE) : 0;
}
EXPORT_SYMBOL_GPL(tme_client_frames);

/**
 * tme_host_init() - start the engine of a machine
 * @host: memory of the caller
 *
 * No limit, no clients.
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int tme_host_init(struct tme_host *host)
{
	static const size_t size[PORT_CACHES] = {
		[PORT_PAGE] = sizeof(struct tme_page),
		[PORT_OBJECT] = sizeof(struct tme_object),
		[PORT_NODE] = sizeof(struct tme_node),
	};

	spin_lock_init(&host->lock);
	INIT_LIST_HEAD(&host->clients);
	host->hand = &host->clients;
	host->nr_clients = 0;
	host->victim = NULL;
	host->quota = 0;
	host->dry = 0;
	host->barren = false;
	host->limit = ULONG_MAX;
	host->phase = 0;
	atomic_long_set(&host->freeable, 0);
	atomic_long_set(&host->chunks[0], 0);
	atomic_long_set(&host->chunks[1], 0);
	port_random(host->key, sizeof(host->key));
	return port_init(size);
}
EXPORT_SYMBOL_GPL(tme_host_init);

/**
 * tme_host_destroy() - stop the engine
 * @host: without clients
 *
 * Context: may sleep.
 */
void tme_host_destroy(struct tme_host *host)
{
	WARN_ON_ONCE(!list_empty(&host->clients));
	WARN_ON_ONCE(atomic_long_read(&host->chunks[0]) ||
		     atomic_long_read(&host->chunks[1]) ||
		     atomic_long_read(&host->freeable));
	port_exit();
}
EXPORT_SYMBOL_GPL(tme_host_destroy);

/**
 * tme_host_set_limit() - limit the memory that all clients together may take
 * @host: the machine
 * @frames: all that is counted against them, in frames
 *
 * A lower limit than what they have takes effect by and by, with each put.
 */
void tme_host_set_limit(struct tme_host *host, unsigned long frames)
{
	if (READ_ONCE(host->limit) != frames)
		WRITE_ONCE(host->limit, frames);
}
EXPORT_SYMBOL_GPL(tme_host_set_limit);
