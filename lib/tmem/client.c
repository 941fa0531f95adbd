// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: pools, clients and hosts: how they come and go, their settings
 * and numbers.
 *
 * Pools are dropped step by step: a walk takes at most TME_BATCH pages under a
 * lock, and ends after TME_WORK pages or when the port says so.  The caller
 * then calls again.
 */
#include "internal.h"

/*
 * Pools
 */

static int tme_shards_new(struct tme_pool *pool)
{
	struct tme_client *client = pool->client;
	struct tme_shard *shards = NULL;
	unsigned int i;
	int err;

	tme_charge_shards(client, 1);
	err = tme_make_room(client, false, 0);
	if (!err)
		shards = tme_port_zalloc(TME_SHARDS_BYTES);
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

/* Destroy a pool that is LIVE or DYING; -EAGAIN while another call does */
static int __tme_destroy_pool(struct tme_pool *pool, int *work)
{
	struct tme_client *client = pool->client;
	int state, err;

	spin_lock(&client->lock);
	/* A pool becomes live without the lock: pairs with tme_new_pool() */
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
 * Clients and hosts
 */

/**
 * tme_client_init() - make a client
 * @host: its machine
 * @client: memory of the caller, which must stay until tme_client_destroy()
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
	client->arena[0] = tme_port_arena_create();
	if (!client->arena[0])
		return -ENOMEM;
	client->arena[1] = tme_port_arena_create();
	if (!client->arena[1]) {
		tme_port_arena_destroy(client->arena[0]);
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
 * @client: from the first call of this on, no other call for it may run
 *
 * Context: may sleep.
 * Return: 0; -EAGAIN when there is more to do, or another CPU is evicting from
 * it: call again.
 */
int tme_client_destroy(struct tme_client *client)
{
	struct tme_host *host = client->host;
	int id, err, work = TME_WORK;
	bool first = false;

	/* From here on no other call can choose to evict from it */
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
		tme_port_free(client->pool[id].shards);
		tme_charge_shards(client, -1);
	}
	tme_charge_slots(client, false);
	tme_charge_slots(client, true);
	WARN_ON_ONCE(tme_used(client));
	tme_port_arena_destroy(client->arena[0]);
	tme_port_arena_destroy(client->arena[1]);
	return 0;
}
EXPORT_SYMBOL_GPL(tme_client_destroy);

/**
 * tme_client_set_cap() - limit the memory that a client may take
 * @client: the client
 * @frames: all that is counted against it, in frames
 *
 * If the client has more than that, its next puts evict from it.  A put that
 * does not get it below the cap fails.
 */
void tme_client_set_cap(struct tme_client *client, unsigned long frames)
{
	WRITE_ONCE(client->cap, frames);
}
EXPORT_SYMBOL_GPL(tme_client_set_cap);

/**
 * tme_client_set_weight() - give a client its share of ephemeral memory
 * @client: the client
 * @weight: not 0; under contention clients come to hold memory in proportion
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

/* What shards count; the other numbers are the client's */
static void tme_stats_add(struct tme_stats *sum, const struct tme_stats *add)
{
	sum->eph_pages += add->eph_pages;
	sum->pers_pages += add->pers_pages;
	sum->raw_pages += add->raw_pages;
	sum->lz4_pages += add->lz4_pages;
	sum->meta_bytes += add->meta_bytes;
	sum->puts += add->puts;
	sum->put_fails += add->put_fails;
	sum->gets += add->gets;
	sum->hits += add->hits;
	sum->flushed += add->flushed;
	sum->evicted += add->evicted;
}

/**
 * tme_client_stats() - read a client's numbers
 * @client: the client
 * @stats: result
 *
 * Locks one shard after the other: the numbers of a busy client need not agree.
 */
void tme_client_stats(struct tme_client *client, struct tme_stats *stats)
{
	struct tme_shard *shard;
	unsigned int i, id;

	memset(stats, 0, sizeof(*stats));
	for (id = 0; id < TME_MAX_POOLS; id++) {
		/* Pairs with the release in tme_shards_new() */
		shard = smp_load_acquire(&client->pool[id].shards);

		for (i = 0; shard && i < TME_SHARDS; i++, shard++) {
			spin_lock(&shard->lock);
			tme_stats_add(stats, &shard->stats);
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
	tme_port_random(host->key, sizeof(host->key));
	return tme_port_init(size);
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
	tme_port_exit();
}
EXPORT_SYMBOL_GPL(tme_host_destroy);

/**
 * tme_host_set_limit() - limit the memory that all clients together may take
 * @host: the machine
 * @frames: all that is counted against them, in frames
 *
 * If the clients have more than that, the next puts evict.  A put that does not
 * get them below the limit fails.
 */
void tme_host_set_limit(struct tme_host *host, unsigned long frames)
{
	if (READ_ONCE(host->limit) != frames)
		WRITE_ONCE(host->limit, frames);
}
EXPORT_SYMBOL_GPL(tme_host_set_limit);
