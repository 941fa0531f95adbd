// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: put, get and flush; the theory of all of it.
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
 * of the key can collide objects on purpose.  The table in a shard, and what
 * bounds a client that has learnt of the key: object.c.
 *
 * Pages.  A page that repeats one word is that word.  If the client wants
 * compression, a page that shrinks to 3/4 or less takes a slot of the host's
 * slot allocator, if that has one; any other takes a frame.  All of it is
 * allocated and copied before a lock is taken; under the lock the descriptor is
 * linked, and the old page is unlinked; the old page is freed after.  So
 * nothing changes before the copy succeeded.  A put that fails removes the page
 * that was there: it must not be found again.
 *
 * A get from an ephemeral pool removes the page, and copies it after unlocking.
 * A get from a persistent pool copies under the lock.
 *
 * Eviction.  A put that finds its client over its cap, or the host over its
 * limit, makes room for itself: evict.c.
 *
 * Accounting.  A client pays for all memory that it causes to be allocated:
 * account.c.
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
 * put, get and flush take shard->lock and client->lru_lock, and try host->lock
 * (tme_pick()).  No call holds the lock of two shards.  A function that needs a
 * lock held says so by lockdep_assert_held().
 */
#include "internal.h"

#define TME_COMPRESSED_MAX	(PAGE_SIZE / 4 * 3) /* else stored raw */

/*
 * The multilinear hash of Carter and Wegman over 32-bit words: the keys have
 * twice the width, and the hash is the upper half.  Any two ids that a client
 * chooses without knowing the keys collide with the chance of random numbers.
 * The hash promises no more than that.  Ids in a row, as inode numbers are,
 * hash to multiples of a key: with one key of 25 they miss some shards, and
 * with one of some thousands they fill some buckets up to TME_CHAIN_MAX.
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

/* The object, under the lock of its shard; NULL: there is none */
static inline struct tme_object *tme_object_find(struct tme_shard *shard,
						 const u64 oid[3],
						 u32 hash)
{
	struct tme_object *obj;

	lockdep_assert_held(&shard->lock);
	for (obj = tme_index_get(&shard->bucket, tme_bucket(shard, hash)); obj;
	     obj = obj->next)
		if (obj->oid[0] == oid[0] && obj->oid[1] == oid[1] &&
		    obj->oid[2] == oid[2])
			break;
	return obj;
}

/* An object without a page, which its first one must follow; NULL: no memory */
static inline struct tme_object *tme_object_new(struct tme_shard *shard,
						const u64 oid[3], u32 hash)
{
	u32 bucket = tme_bucket(shard, hash);
	struct tme_object *chain = tme_index_get(&shard->bucket, bucket);
	struct tme_object *obj;

	lockdep_assert_held(&shard->lock);
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

/*
 * Pages: what is in them, no lock held unless noted
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
 * Return: length, or 0 if the page is better stored raw.  That is also the case
 * when there is no slot: a slot allocator may want several frames in a row.
 */
static int tme_compress(struct tme_client *client, const void *src, bool pers,
			unsigned long *slot)
{
	struct port_scratch *scratch = tme_port_scratch_get();
	int len;

	len = tme_port_compress(scratch, src, TME_COMPRESSED_MAX);
	if (len) {
		*slot = tme_port_slot_alloc(client->arena[pers], scratch->buf,
					    len, pers);
		if (!*slot)
			len = 0;
	}
	tme_port_scratch_put(scratch);
	return len;
}

/* Says to the compiler that both are aligned to a word */
static inline void tme_copy(void *dst, const void *src)
{
	struct words {
		unsigned long word[PAGE_SIZE / sizeof(long)];
	};

	*(struct words *)dst = *(const struct words *)src;
}

/* Copy a page out; it cannot change: it is unlinked, or its shard is locked */
static inline int tme_page_read(struct tme_client *client,
				const struct tme_page *page, void *dst)
{
	unsigned int i;
	void *src;
	int len;

	if (page->len == TME_RAW) {
		src = tme_port_frame_map(page->data);
		tme_copy(dst, src);
		tme_port_frame_unmap(src);
	} else if (page->len) {
		src = tme_port_slot_map(client->arena[page->pers], page->data);
		len = tme_port_decompress(src, page->len, dst);
		tme_port_slot_unmap(client->arena[page->pers], page->data);
		if (WARN_ON_ONCE(len != PAGE_SIZE))
			return -EIO;
	} else {
		for (i = 0; i < PAGE_SIZE / sizeof(page->data); i++)
			((unsigned long *)dst)[i] = page->data;
	}
	return 0;
}

/* Give @page a frame with a copy of @src.  Return: 0 or -ENOMEM */
static inline int tme_frame_new(struct tme_page *page, const void *src)
{
	void *dst;

	page->data = tme_port_frame_alloc(page->pers);
	if (!page->data)
		return -ENOMEM;
	dst = tme_port_frame_map(page->data);
	tme_copy(dst, src);
	tme_port_frame_unmap(dst);
	return 0;
}

/*
 * A descriptor with its copy of @src; counted, not yet linked.
 *
 * A frame of an ephemeral page is counted before it is taken, so the limits
 * hold at all times.  A frame of a persistent page is counted after.  A host
 * may refuse its client memory of another kind because of what is persistent,
 * and must not do that for a page that does not stay.  So puts of several CPUs
 * may take a frame each beyond a limit.
 */
static struct tme_page *tme_page_new(struct tme_client *client,
				     const void *src, bool pers)
{
	struct tme_page *page;
	int err = 0, len = 0;
	long bytes = 0, later;

	page = tme_port_cache_alloc(client->arena[pers], PORT_PAGE, &bytes);
	/* Other clients may have all memory: then evict from them */
	if (!page && !tme_make_room(client, pers, 0))
		page = tme_port_cache_alloc(client->arena[pers], PORT_PAGE,
					    &bytes);
	if (!page)
		return ERR_PTR(-ENOMEM);
	page->pers = pers;
	if (!tme_same_filled(src, &page->data)) {
		if (READ_ONCE(client->compress)) {
			/* Before the work, which would be wasted without */
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
			if (!err && !pers && !tme_port_keep_raw())
				err = -ENOMEM;
		}
	}
	page->len = len;

	later = pers ? bytes : 0;
	tme_charge(client, pers, bytes - later);
	if (!err)
		err = tme_make_room(client, pers, later);
	if (len == TME_RAW) {
		err = err ?: tme_frame_new(page, src);
		if (err) {
			page->len = 0;
			later -= PAGE_SIZE;
		}
	}
	if (err) {
		if (page->len) {
			tme_port_slot_free(client->arena[pers], page->data);
			tme_charge_slots(client, pers);
		}
		later -= tme_port_cache_free(client->arena[pers], PORT_PAGE,
					     page);
	}
	tme_charge(client, pers, later);
	return err ? ERR_PTR(err) : page;
}

/*
 * Pages: where they are, shard->lock held
 */

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

static void tme_lru_touch(struct tme_client *client, struct tme_page *page)
{
	spin_lock(&client->lru_lock);
	list_del(&page->lru);
	list_add_tail(&page->lru, &client->lru);
	spin_unlock(&client->lru_lock);
}

/*
 * Link @page under @obj at @place there.  It replaces the page that is there,
 * if any, and then cannot fail.  If @obj is NULL, so is @place.
 */
static int tme_page_link(struct tme_shard *shard, const u64 oid[3], u32 hash,
			 struct tme_object *obj, struct tme_page *page,
			 struct tme_place place)
{
	struct tme_page *old = tme_entry(place);

	lockdep_assert_held(&shard->lock);
	if (!obj)
		obj = tme_object_new(shard, oid, hash);
	if (!obj)
		return -ENOMEM;
	if (old) {
		tme_lru_del(shard, old);
		*place.slot = page;
	} else if (tme_index_insert(&obj->pages, place, shard, page->index,
				    page)) {
		return -ENOMEM;		/* not the object's first page */
	}
	page->object = obj;
	tme_lru_add(shard, page);
	return 0;
}

/*
 * Put, get, flush
 */

/**
 * tme_put() - copy a page in
 * @client: the client
 * @pool: id of a pool
 * @oid: object
 * @index: page of the object
 * @src: PAGE_SIZE bytes, aligned to a word, that do not change during the call
 *	(a host that cannot be sure of that has to copy them first)
 *
 * Takes the place of a page that is there.
 *
 * Context: may allocate memory, without waiting for any.
 * Return: 0; -EINVAL when there is no such pool; -EDQUOT when the client is
 * at its cap; -ENOMEM; -ENOSPC instead of these two when there was a page.
 * After an error there is no page under this handle.
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
	/* The pool may be gone, or be another one by now */
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
 * Lets a caller skip costly preparation if a get would miss.  A miss is counted
 * as a get.
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
			err = 0;	/* another call dropped the rest */
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
