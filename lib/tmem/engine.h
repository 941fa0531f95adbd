/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: keeps copies of pages for clients that cannot address them.
 * Theory of operation: engine.c.  What the engine asks of its host: contract.h.
 *
 * All functions but those that say otherwise may be called at any time, by
 * several callers at once, with interrupts off and under locks of the caller,
 * but neither in an interrupt nor under a lock that is taken in one.
 */
#ifndef TME_ENGINE_H
#define TME_ENGINE_H

#include "port.h"

#define TME_MAX_POOLS		16	/* per client */

/* Flags of a pool, numbered as in the guest ABI */
#define TME_POOL_PERSISTENT	1u	/* never dropped */
#define TME_POOL_SHARED		2u	/* a get does not remove the page */

#define TME_WEIGHT_DEFAULT	100u

struct tme_shard;

/**
 * struct tme_stats - a client's numbers
 * @eph_pages: pages held in ephemeral pools
 * @pers_pages: pages held in persistent pools
 * @raw_pages: of both, those that take a frame each
 * @lz4_pages: of both, those that take a compressed slot (the rest repeats one
 *	word and takes neither)
 * @meta_bytes: descriptors, objects, nodes and shards, without what is lost in
 *	slabs
 * @slot_frames: frames that the compressed slots take, with what is lost there
 * @used_bytes: all memory held: @meta_bytes, @raw_pages and @slot_frames, and
 *	what is lost in slabs of the client's own
 * @pers_bytes: of that, for persistent pages
 * @puts: puts, and of these
 * @put_fails: that failed
 * @gets: gets, and of these
 * @hits: that found the page
 * @flushed: pages dropped because the client said so
 * @evicted: pages dropped because memory was needed
 */
struct tme_stats {
	u64 eph_pages, pers_pages, raw_pages, lz4_pages;
	u64 meta_bytes, slot_frames, used_bytes, pers_bytes;
	u64 puts, put_fails, gets, hits, flushed, evicted;
};

/**
 * struct tme_host - all clients of a machine; private to the engine
 * @limit: frames that all clients together may take
 * @key: secret of the hash
 * @chunks: frames that they do take, for ephemeral and for persistent pages,
 *	counted in chunks of TME_CHUNK bytes per client
 * @freeable: frames that eviction could give back: the sum of the clients'
 * @lock: protects what follows; puts only try it, gets and flushes leave it
 * @clients: list of struct tme_client
 * @nr_clients: its length
 * @hand: where in the list tme_choose() has looked last
 * @victim: the client that was chosen last; NULL: none; read without the lock
 * @phase: its lowest bit is the index into the clients' @picking at which puts
 *	that look at @victim count
 * @quota: how many more puts may take @victim without choosing again
 * @dry: number of the round in which dry clients rank last (tme_dry()); odd
 *	when there are such clients; also changed without the lock
 * @barren: no client had a page to evict, and none has got more memory since;
 *	also changed without the lock
 */
struct tme_host {
	unsigned long limit;
	u64 key[7];

	atomic_long_t chunks[2] ____cacheline_aligned;
	atomic_long_t freeable;

	spinlock_t lock ____cacheline_aligned;	/* of all that follows */
	struct list_head clients;
	unsigned int nr_clients;
	struct list_head *hand;
	struct tme_client *victim;
	u32 phase;
	unsigned int quota;
	u32 dry;
	bool barren;
};

/**
 * struct tme_pool - a pool; private to the engine
 * @client: the client that has it
 * @shards: allocated with the slot's first pool, freed with the client
 * @state: an enum tme_pool_state; changed under client->lock, but by the call
 *	that makes the pool
 * @flags: TME_POOL_*
 * @drained: shards that a destruction has emptied
 * @shards_used: shards that have an object
 */
struct tme_pool {
	struct tme_client *client;
	struct tme_shard *shards;
	int state;
	u32 flags;
	u32 drained;
	atomic_long_t shards_used;
};

/**
 * struct tme_client - a client; private to the engine, memory of the caller
 * @host: where it belongs
 * @node: in host->clients
 * @dry: the round, as in host->dry, in which evicting from it gave no memory
 * @evictors: how many calls are about to evict from this client
 * @picking: how many of its puts look at host->victim without the lock at this
 *	moment, by the host->phase in which they began
 * @lock: protects the states of the pools, @min, @keep and @shards_bytes
 * @pool: the pools
 * @arena: memory for compressed slots, and perhaps for metadata, one arena for
 *	ephemeral and one for persistent pages: what stays must not hold on to
 *	the memory of what goes
 * @compress: compress new pages?
 * @cap: frames it may take
 * @min: frames of ephemeral memory that others cannot take from it
 * @weight: its share of ephemeral memory
 * @shards_bytes: what the shards of its pools take
 * @used: bytes it takes, for ephemeral and for persistent pages
 * @slot_frames: of these, the frames of compressed slots, as last counted
 * @keep: frames of ephemeral memory that are not freeable: the shards', or @min
 * @freeable: frames that eviction could take from it, as last counted
 * @lru_lock: protects @lru and @eph_pages; taken inside a shard's lock
 * @lru: ephemeral pages, the next to be evicted first
 * @eph_pages: number of pages in @lru
 */
struct tme_client {
	struct tme_host *host;
	struct list_head node;
	u32 dry;
	atomic_long_t evictors;
	atomic_long_t picking[2];
	spinlock_t lock;	/* of the states in @pool */
	struct tme_pool pool[TME_MAX_POOLS];
	struct port_arena *arena[2];
	bool compress;
	unsigned long cap, min;
	u32 weight;
	unsigned long shards_bytes;

	atomic_long_t used[2] ____cacheline_aligned;
	long slot_frames[2];
	long keep, freeable;

	spinlock_t lru_lock ____cacheline_aligned;
	struct list_head lru;
	unsigned long eph_pages;
};

/*
 * A branch has found that @i is below @size, a power of two.  This makes it
 * true where the CPU speculates on the branch, too: for numbers that a client
 * chooses.  As array_index_nospec(), in one instruction, which the compiler
 * must not see through.
 */
static inline u32 tme_clamp(u32 i, u32 size)
{
	OPTIMIZER_HIDE_VAR(i);
	return i & (size - 1);
}

static_assert(!(TME_MAX_POOLS & (TME_MAX_POOLS - 1)),
	      "tme_clamp() is no clamp");

int tme_host_init(struct tme_host *host);
void tme_host_destroy(struct tme_host *host);
void tme_host_set_limit(struct tme_host *host, unsigned long frames);

int tme_client_init(struct tme_host *host, struct tme_client *client);
int tme_client_destroy(struct tme_client *client);
void tme_client_set_cap(struct tme_client *client, unsigned long frames);
void tme_client_set_weight(struct tme_client *client, u32 weight);
void tme_client_set_min(struct tme_client *client, unsigned long frames);
void tme_client_set_compress(struct tme_client *client, bool on);
void tme_client_stats(struct tme_client *client, struct tme_stats *stats);
unsigned long tme_client_frames(struct tme_client *client, bool pers);

int tme_new_pool(struct tme_client *client, u32 flags);
int tme_destroy_pool(struct tme_client *client, u32 pool);

int tme_pool_flags(struct tme_client *client, u32 pool);
bool tme_pool_empty(struct tme_client *client, u32 pool);

int tme_put(struct tme_client *client, u32 pool, const u64 oid[3], u32 index,
	    const void *src);
int tme_lookup(struct tme_client *client, u32 pool, const u64 oid[3],
	       u32 index);
int tme_get(struct tme_client *client, u32 pool, const u64 oid[3], u32 index,
	    void *dst);
int tme_flush_page(struct tme_client *client, u32 pool, const u64 oid[3],
		   u32 index);
int tme_flush_object(struct tme_client *client, u32 pool, const u64 oid[3]);

unsigned long tme_evict(struct tme_host *host, unsigned long nr, long *bytes);
unsigned long tme_evictable(struct tme_host *host);
unsigned long tme_freeable(struct tme_host *host);

#endif /* TME_ENGINE_H */
