// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: what memory is counted against whom.
 *
 * All memory that a client causes to be allocated is counted against it, in
 * bytes: frames; the frames of its compressed slots, with the gaps in them,
 * which a hostile client would aim for; shards; and descriptors, objects and
 * nodes.  For the latter the port says how much: their size, or, where a client
 * has slabs to itself, whole frames, again with the gaps.
 *
 * The host's total is the sum of the clients' bytes, each rounded up to
 * TME_CHUNK.  So a client touches the shared counter once in many calls.  The
 * host's sum of what eviction could free changes at the same time: where a
 * client's number of chunks does.
 *
 * A frame of an ephemeral page is counted first and taken after.  So the limits
 * hold at all times, with these exceptions.  Puts of other CPUs may take memory
 * for objects and nodes at the same moment (each has looked for TME_HEADROOM),
 * or for a persistent page (tme_page_new()).  And the slot allocator, or a
 * slab, may grow by one step.
 *
 * The part of this that each put, get and flush does is in internal.h.
 */
#include "internal.h"

/*
 * What eviction could take from the client, in frames: without @keep.  Only
 * whole chunks count, and the last one does not.  So the result changes where
 * the number of chunks does.
 */
static long tme_client_freeable(struct tme_client *client)
{
	long chunks = tme_chunks(atomic_long_read(&client->used[0])) - 1;
	long frames = chunks * (long)(TME_CHUNK / PAGE_SIZE) -
		      READ_ONCE(client->keep);

	return frames > 0 ? frames : 0;
}

/*
 * Bring the host's sum up to date.  Repeat until stable, so that a racing
 * caller cannot overwrite a newer count with an older one.
 */
static void tme_count_freeable(struct tme_client *client)
{
	long now;

	while ((now = tme_client_freeable(client)) !=
	       READ_ONCE(client->freeable))
		atomic_long_add(now - xchg(&client->freeable, now),
				&client->host->freeable);
}

/* What must not be evicted has changed */
void tme_set_keep(struct tme_client *client)
{
	unsigned long keep = DIV_ROUND_UP(client->shards_bytes, PAGE_SIZE);

	lockdep_assert_held(&client->lock);
	if (keep < client->min)
		keep = client->min;
	WRITE_ONCE(client->keep, keep < LONG_MAX / 2 ? keep : LONG_MAX / 2);
	tme_count_freeable(client);
}

/* The client takes @chunks more, or less: once in many calls of tme_charge() */
noinline void tme_charge_chunks(struct tme_client *client, bool pers,
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
 * Count what the slot allocator has grown or shrunk by.  Repeat until stable,
 * as in tme_count_freeable().  Return: bytes.
 */
long tme_charge_slots(struct tme_client *client, bool pers)
{
	long now, bytes, sum = 0;

	while ((now = tme_port_slot_frames(client->arena[pers])) !=
	       READ_ONCE(client->slot_frames[pers])) {
		bytes = now - xchg(&client->slot_frames[pers], now);
		bytes *= (long)PAGE_SIZE;
		tme_charge(client, pers, bytes);
		sum += bytes;
	}
	return sum;
}

/* Count the shards of @n more pools, which stay until the client goes */
void tme_charge_shards(struct tme_client *client, int n)
{
	spin_lock(&client->lock);
	client->shards_bytes += n * TME_SHARDS_BYTES;
	tme_set_keep(client);
	spin_unlock(&client->lock);
	tme_charge(client, false, n * TME_SHARDS_BYTES);
}

/* Free an object or a node */
void tme_meta_free(struct tme_shard *shard, enum port_cache cache, long size,
		   void *p)
{
	struct tme_client *client = shard->pool->client;
	bool pers = tme_shard_pers(shard);

	lockdep_assert_held(&shard->lock);
	shard->stats.meta_bytes -= size;
	tme_charge(client, pers,
		   -tme_port_cache_free(client->arena[pers], cache, p));
}

/* Allocate an object or a node; the put has looked for TME_HEADROOM */
void *tme_meta_alloc(struct tme_shard *shard, enum port_cache cache, long size)
{
	struct tme_client *client = shard->pool->client;
	bool pers = tme_shard_pers(shard);
	long bytes = 0;
	void *p;

	lockdep_assert_held(&shard->lock);
	p = tme_port_cache_alloc(client->arena[pers], cache, &bytes);
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
 * tme_freeable() - how much memory tme_evict() could give back
 * @host: the machine
 *
 * Context: any; takes no lock, and as long for many clients as for one.
 * Return: frames, with those of the metadata, but neither the clients' minima
 * nor their shards; up to TME_CHUNK too little for each client.
 */
unsigned long tme_freeable(struct tme_host *host)
{
	/* It may be below 0 for a moment */
	long frames = atomic_long_read(&host->freeable);

	return frames > 0 ? frames : 0;
}
EXPORT_SYMBOL_GPL(tme_freeable);
