// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: its tests in user space.  TAP on standard output.
 *
 * Every page says by its bytes which handle and which put it belongs to.  After
 * each test all memory must have been freed and the engine must not have warned.
 */
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"
#include "pages.h"

#define CHECK(cond) do {						\
	if (!(cond))							\
		fail(__func__, __LINE__, #cond);			\
} while (0)

static int failures;		/* of the running test */

static void fail(const char *func, int line, const char *what)
{
	if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= 5)
		printf("# %s:%d: %s\n", func, line, what);
}

static u64 rnd_state = 1;

static u64 rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state * 0x2545f4914f6cdd1dull;
}

static int put(struct tme_client *client, u32 pool, u64 o, u32 index, u64 seed,
	       enum kind kind)
{
	u64 oid[3] = { o, o >> 32, ~o };
	page_t page;

	fill(&page, seed, kind);
	return tme_put(client, pool, oid, index, &page);
}

/* Return: 0 if the page was there and right */
static int get(struct tme_client *client, u32 pool, u64 o, u32 index, u64 seed,
	       enum kind kind)
{
	u64 oid[3] = { o, o >> 32, ~o };
	page_t page;
	int err = tme_lookup(client, pool, oid, index);

	/* Without other threads this says the same */
	if (!err)
		err = tme_get(client, pool, oid, index, &page);

	if (!err)
		CHECK(is(&page, seed, kind));
	return err;
}

static int flush(struct tme_client *client, u32 pool, u64 o, u32 index)
{
	u64 oid[3] = { o, o >> 32, ~o };

	return tme_flush_page(client, pool, oid, index);
}

static int flush_object(struct tme_client *client, u32 pool, u64 o)
{
	u64 oid[3] = { o, o >> 32, ~o };
	int err;

	while ((err = tme_flush_object(client, pool, oid)) == -EAGAIN)
		;
	return err;
}

static struct tme_stats stats(struct tme_client *client)
{
	struct tme_stats st;

	tme_client_stats(client, &st);
	/* At quiesce, every byte is one that is known of */
	CHECK(port_meta_free || st.used_bytes == st.meta_bytes +
	      (st.raw_pages + st.slot_frames) * PAGE_SIZE);
	CHECK(st.eph_pages == client->eph_pages);
	return st;
}

static void destroy_pool(struct tme_client *client, u32 pool)
{
	int err;

	while ((err = tme_destroy_pool(client, pool)) == -EAGAIN)
		;
	CHECK(!err);
}

static void destroy(struct tme_client *client)
{
	int err;

	while ((err = tme_client_destroy(client)) == -EAGAIN)
		;
	CHECK(!err);
}

/* A host and clients for the tests that need no other */
static struct tme_host host;
static struct tme_client A, B;

static void setup(void)
{
	CHECK(!tme_host_init(&host));
	CHECK(!tme_client_init(&host, &A));
	CHECK(!tme_client_init(&host, &B));
	CHECK(tme_new_pool(&A, 0) == 0);
	CHECK(tme_new_pool(&A, TME_POOL_PERSISTENT) == 1);
	CHECK(tme_new_pool(&B, 0) == 0);
	CHECK(tme_new_pool(&B, TME_POOL_PERSISTENT) == 1);
}

static void teardown(void)
{
	destroy(&A);
	destroy(&B);
	tme_host_destroy(&host);
}

/*
 * Tests
 */

static void put_get_flush(void)
{
	enum kind kind;
	int pool, on;

	setup();
	for (on = 0; on < 2; on++) {
		tme_client_set_compress(&A, on);
		for (kind = 0; kind < KINDS; kind++) {
			for (pool = 0; pool < 2; pool++) {
				CHECK(get(&A, pool, 7, 1, 5, kind) == -ENOENT);
				CHECK(!put(&A, pool, 7, 1, 5, kind));
				CHECK(get(&A, pool, 7, 0, 5, kind) == -ENOENT);
				CHECK(get(&A, pool, 8, 1, 5, kind) == -ENOENT);
				CHECK(get(&A, !pool, 7, 1, 5, kind) == -ENOENT);
				CHECK(get(&B, pool, 7, 1, 5, kind) == -ENOENT);
				CHECK(!get(&A, pool, 7, 1, 5, kind));
				/* an ephemeral get removes */
				CHECK(get(&A, pool, 7, 1, 5, kind) ==
				      (pool ? 0 : -ENOENT));
				CHECK(stats(&A).eph_pages == 0);
				CHECK(stats(&A).pers_pages == (u64)pool);
				/* a second put replaces the first */
				CHECK(!put(&A, pool, 7, 1, 6, kind));
				CHECK(!put(&A, pool, 7, 1, 9, KINDS - 1 - kind));
				CHECK(!get(&A, pool, 7, 1, 9, KINDS - 1 - kind));
				CHECK(flush(&A, pool, 7, 1) ==
				      (pool ? 0 : -ENOENT));
				CHECK(flush(&A, pool, 7, 1) == -ENOENT);
				CHECK(get(&A, pool, 7, 1, 9, kind) == -ENOENT);
				CHECK(flush_object(&A, pool, 7) == -ENOENT);
			}
		}
	}
	CHECK(stats(&A).raw_pages == 0);
	CHECK(stats(&A).lz4_pages == 0);
	teardown();
}

/* A page is same-filled only if all of it is: one odd bit anywhere counts */
static void almost_same_filled(void)
{
	const u64 oid[3] = { 1, 2, 3 };
	page_t page, back;
	unsigned int i;

	setup();
	for (i = 0; i <= PAGE_SIZE / 8; i++) {
		fill(&page, 7, SAME);
		if (i < PAGE_SIZE / 8)
			page.w[i] ^= 1ull << i % 64;
		CHECK(!tme_put(&A, 0, oid, i, &page));
		CHECK(stats(&A).raw_pages == (i < PAGE_SIZE / 8));
		CHECK(!tme_get(&A, 0, oid, i, &back));
		CHECK(!memcmp(&page, &back, sizeof(page)));
	}
	teardown();
}

static const u32 extremes[] = {
	0, 1, 62, 63, 64, 65, 4095, 4096, 0x3ffff, 0x40000, 0xffffff, 0x1000000,
	0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0x80000001, 0xc0000000,
	0xfffffffe, 0xffffffff,
};

static void index_extremes(void)
{
	const int n = sizeof(extremes) / sizeof(*extremes);
	int i, j, round, pool;
	u64 one;

	setup();
	CHECK(!put(&A, 1, 1, 0, 1, SAME));
	one = stats(&A).meta_bytes;
	CHECK(!flush(&A, 1, 1, 0));
	for (round = 0; round < 200; round++) {
		bool in[sizeof(extremes) / sizeof(*extremes)] = { 0 };

		pool = round & 1;
		for (i = 0; i < 3 * n; i++) {
			j = rnd() % n;
			CHECK(!put(&A, pool, 1, extremes[j], j, SAME));
			in[j] = true;
			j = rnd() % n;
			CHECK(flush(&A, pool, 1, extremes[j]) ==
			      (in[j] ? 0 : -ENOENT));
			in[j] = false;
		}
		for (j = 0; j < n; j++)
			CHECK(get(&A, pool, 1, extremes[j], j, SAME) ==
			      (in[j] ? 0 : -ENOENT));
		CHECK(flush_object(&A, pool, 1) != -EAGAIN);
		/* one page left, whichever: it costs no node */
		for (j = 0; j < n; j++)
			CHECK(!put(&A, pool, 1, extremes[j], j, SAME));
		for (j = 0; j < n; j++)
			if (j != round % n)
				CHECK(!flush(&A, pool, 1, extremes[j]));
		CHECK(stats(&A).meta_bytes == one);
		CHECK(!get(&A, pool, 1, extremes[round % n], round % n, SAME));
		flush_object(&A, pool, 1);
	}
	teardown();
}

/* Memory depends on what is stored now: a far page leaves no high tree behind */
static void index_shrinks(void)
{
	u64 meta;
	int i;

	setup();
	CHECK(!put(&A, 1, 1, 0, 0, SAME));
	CHECK(!put(&A, 1, 1, 1, 1, SAME));
	meta = stats(&A).meta_bytes;
	for (i = 2; i < (int)(sizeof(extremes) / sizeof(*extremes)); i++) {
		CHECK(!put(&A, 1, 1, extremes[i], i, SAME));
		CHECK(stats(&A).meta_bytes > meta);
		CHECK(!flush(&A, 1, 1, extremes[i]));
		CHECK(stats(&A).meta_bytes == meta);
	}
	teardown();
}

/* There are 2^32 keys, which a number of 32 bits cannot count */
static void index_is_full(void)
{
	struct tme_shard *owner;
	struct tme_index ix = {};
	int entry;
	u32 key;

	setup();
	owner = A.pool[0].shards;
	spin_lock(&owner->lock);
	for (key = 1; key < 3; key++)
		CHECK(!tme_index_insert(&ix, tme_index_find(&ix, key), owner,
					key, &entry));
	ix.nr = ~0u;		/* as if: they would take 16 TiB */
	for (key = 3; key < 99; key += 95)
		CHECK(tme_index_insert(&ix, tme_index_find(&ix, key), owner,
				       key, &entry) == -ENOMEM);
	CHECK(ix.nr == ~0u);
	CHECK(!tme_index_get(&ix, 3));
	ix.nr = 2;
	for (key = 1; key < 3; key++)
		tme_index_erase(&ix, tme_index_find(&ix, key), owner, key);
	spin_unlock(&owner->lock);
	teardown();
}

static void metadata_per_page(void)
{
	u64 base, meta, i;

	setup();
	base = stats(&A).meta_bytes;
	for (i = 0; i < 65536; i++)
		CHECK(!put(&A, 0, 1, i, i, SAME));
	meta = stats(&A).meta_bytes - base;
	printf("# pages that share an object: %.1f bytes each\n", meta / 65536.);
	CHECK(meta <= 64 * 65536);
	flush_object(&A, 0, 1);
	for (i = 0; i < 65536; i++)
		CHECK(!put(&A, 0, i, i * 2654435761u, i, SAME));
	meta = stats(&A).meta_bytes - base;
	printf("# one page per object: %.1f bytes each\n", meta / 65536.);
	CHECK(meta <= 160 * 65536);
	teardown();
}

/* Up and down again: no object is lost, no put does much, no byte stays */
static void hash_growth(void)
{
	const u64 n = 100000;
	u64 base, i, r;
	long most = 0;

	setup();
	base = stats(&A).used_bytes;
	for (i = 0; i < n; i++) {
		long before = port_allocs;

		CHECK(!put(&A, 1, i, 0, i, SAME));
		if (port_allocs - before > most)
			most = port_allocs - before;
		r = rnd() % (i + 1);
		CHECK(!get(&A, 1, r, 0, r, SAME));
	}
	printf("# at most %ld allocations in one put\n", most);
	CHECK(most <= 16);
	for (i = 0; i < n; i++)
		CHECK(!get(&A, 1, i, 0, i, SAME));
	for (i = 0; i < n; i += 2)
		CHECK(!flush(&A, 1, i, 0));
	for (i = 0; i < n; i++)
		CHECK(get(&A, 1, i, 0, i, SAME) == (i % 2 ? 0 : -ENOENT));
	for (i = 1; i < n; i += 2)
		CHECK(!flush(&A, 1, i, 0));
	CHECK(stats(&A).used_bytes == base);
	teardown();
}

/* The worst that a client could do to the hash, if it knew the key */
static void hash_collisions(void)
{
	u64 oid[3], seen, base;
	page_t page;
	int i, pool, word;

	setup();
	memset(host.key, 0, sizeof(host.key));
	base = stats(&A).used_bytes;
	for (pool = 0; pool < 6; pool++) {
		/* all 192 bits of an object's id count: 64 at a time */
		for (i = pool / 2; i < 192; i += 3) {
			memset(oid, 0, sizeof(oid));
			oid[i / 64] = 1ull << i % 64;
			fill(&page, i, SAME);
			CHECK(!tme_put(&A, pool % 2, oid, 5, &page));
		}
		for (i = pool / 2; i < 192; i += 3) {
			memset(oid, 0, sizeof(oid));
			oid[i / 64] = 1ull << i % 64;
			CHECK(!tme_get(&A, pool % 2, oid, 5, &page));
			CHECK(is(&page, i, SAME));
			CHECK(tme_flush_page(&A, pool % 2, oid, 5) ==
			      (pool % 2 ? 0 : -ENOENT));
		}
	}
	CHECK(stats(&A).used_bytes == base);
	/*
	 * ... and with the key back, they are all over the place, in whichever
	 * 32 bits they differ.  Ids in a row would not do: see tme_hash().
	 */
	port_random(host.key, sizeof(host.key));
	for (word = 0; word < 6; word++) {
		u64 start = rnd_state;

		for (seen = i = 0; i < 1000; i++) {
			u64 meta = stats(&A).meta_bytes;

			memset(oid, 0, sizeof(oid));
			oid[word / 2] = (u64)(u32)rnd() << word % 2 * 32;
			CHECK(!tme_put(&A, 1, oid, 0, &page));
			/* the second object of a shard is its first in a node */
			seen += stats(&A).meta_bytes - meta > 200;
		}
		CHECK(seen >= 60);
		rnd_state = start;
		for (i = 0; i < 1000; i++) {
			oid[word / 2] = (u64)(u32)rnd() << word % 2 * 32;
			CHECK(tme_flush_page(&A, 1, oid, 0) != -EINVAL);
		}
		CHECK(stats(&A).used_bytes == base);
	}
	teardown();
}

/* All ids that share a bucket, as of a client that knows the key */
static void hash_chains_are_bounded(void)
{
	u64 oid[3] = { 0 }, base;
	page_t page;
	int i, put_ok = 0;

	setup();
	memset(host.key, 0, sizeof(host.key));
	base = stats(&A).used_bytes;
	fill(&page, 1, SAME);
	for (i = 0; i < 1000000 && put_ok <= 64; i++) {
		int err;

		oid[0] = i;
		err = tme_put(&A, 0, oid, 0, &page);
		CHECK(!err || err == -ENOMEM);
		put_ok += !err;
	}
	CHECK(i == 1000000);
	CHECK(put_ok == 64);
	CHECK(stats(&A).eph_pages == 64);
	/* objects that are there take more pages, and others put */
	oid[0] = 3;
	CHECK(!tme_put(&A, 0, oid, 1, &page));
	CHECK(!put(&B, 0, 1, 0, 1, SAME));
	CHECK(tme_lookup(&A, 0, oid, 2) == -ENOENT);
	/* one that goes makes room for another */
	CHECK(tme_evict(&host, 1, NULL) == 1);
	oid[0] = 2000000;
	CHECK(!tme_put(&A, 0, oid, 1, &page));
	oid[0]++;
	CHECK(tme_put(&A, 0, oid, 1, &page) == -ENOMEM);
	CHECK(tme_evict(&host, 100, NULL) == 66);
	CHECK(stats(&A).used_bytes == base);
	teardown();
}

/*
 * Nor does a chain become too long when buckets are merged.  In each of 16
 * buckets are 64 objects; then those go that made the table so large that these
 * are not all in one.
 */
static void hash_merges_no_long_chains(void)
{
	u64 oid[3] = { 0 }, meta, one;
	page_t page;
	u64 i, j;

	setup();
	memset(host.key, 0, sizeof(host.key));
	host.key[0] = 64ull << 32;	/* one shard; only oid[0] counts */
	fill(&page, 1, SAME);
	one = stats(&A).meta_bytes;
	CHECK(!tme_put(&A, 0, oid, 0, &page));
	one = stats(&A).meta_bytes - one;
	CHECK(!tme_flush_page(&A, 0, oid, 0));

	for (i = 0; i < 32768; i++) {
		oid[0] = i;
		CHECK(!tme_put(&A, 1, oid, 0, &page));
	}
	for (i = 0; i < 32768; i += 2048)
		for (j = 1; j < 64; j++) {
			oid[0] = i;
			oid[1] = j;
			CHECK(!tme_put(&A, 1, oid, 0, &page));
		}
	oid[1] = 0;
	meta = stats(&A).meta_bytes;
	for (i = 0; i < 32768; i++) {
		oid[0] = i;
		if (i % 2048)
			CHECK(!tme_flush_page(&A, 1, oid, 0));
	}
	/* Each that goes merges a bucket at most */
	oid[0] = 1;
	for (i = 0; i < 32768; i++) {
		CHECK(!tme_put(&A, 1, oid, 0, &page));
		CHECK(!tme_flush_page(&A, 1, oid, 0));
	}
	CHECK(stats(&A).pers_pages == 1024);
	/* As one or two chains they would take next to no nodes */
	CHECK(meta - stats(&A).meta_bytes > (32768 - 16) * one);
	meta = stats(&A).meta_bytes - stats(&B).meta_bytes;
	CHECK(meta > 1024 * one + 16 * 136);
	CHECK(meta < 1024 * one + 64 * 136);
	/* All are there, and when they go the table gets small again */
	for (i = 0; i < 32768; i += 2048)
		for (j = 0; j < 64; j++) {
			oid[0] = i;
			oid[1] = j;
			CHECK(!tme_flush_page(&A, 1, oid, 0));
		}
	CHECK(stats(&A).meta_bytes == stats(&B).meta_bytes);
	teardown();
}

/* Buckets that are merged keep both chains, also where one is long */
static void hash_merges_chains(void)
{
	static const u32 stay[] = { 0, 32, 8 };
	unsigned int i, round;

	setup();
	memset(host.key, 0, sizeof(host.key));
	host.key[0] = 64ull << 32;	/* one shard, and the id is the hash */
	for (i = 0; i < 3; i++)
		CHECK(!put(&A, 1, stay[i], 0, i, SAME));
	for (i = 16; i < 30; i++)
		CHECK(!put(&A, 1, i, 0, i, SAME));
	for (i = 16; i < 30; i++)
		CHECK(!flush(&A, 1, i, 0));
	/* With each that goes one bucket is merged; bucket 8 with 0 when last */
	for (round = 0; round < 16; round++) {
		CHECK(!put(&A, 1, 1, 0, 1, SAME));
		CHECK(!flush(&A, 1, 1, 0));
		for (i = 0; i < 3; i++)
			CHECK(!get(&A, 1, stay[i], 0, i, SAME));
	}
	teardown();
}

/*
 * Make each allocation of a put fail in turn; the put fails as a whole, but for
 * one that gets no slot: it takes a frame
 */
static void failed_put_removes_old(void)
{
	int pool, dup, site, err, failed = 0, raw = 0;
	enum kind kind;
	long allocs;

	setup();
	tme_client_set_compress(&A, true);
	for (kind = 0; kind < KINDS; kind++) {
		for (pool = 0; pool < 2; pool++) {
			for (dup = 0; dup < 2; dup++) {
				for (site = 1; ; site++) {
					struct tme_stats st = stats(&A);

					/* far apart: needs 15 nodes */
					CHECK(!put(&A, pool, 1, 0, 1, SAME));
					if (dup)
						CHECK(!put(&A, pool, 1, ~0u, 2,
							   KINDS - 1 - kind));
					allocs = port_allocs;
					port_fail_at = allocs + site;
					err = put(&A, pool, 1, ~0u, 3, kind);
					port_fail_at = 0;
					if (!err && port_allocs < allocs + site)
						break;
					/* a descriptor is tried for twice */
					if (site == 1) {
						CHECK(!err);
						flush_object(&A, pool, 1);
						continue;
					}
					if (!err) {
						CHECK(kind == TEXT);
						CHECK(stats(&A).raw_pages == 1);
						CHECK(!get(&A, pool, 1, ~0u, 3,
							   kind));
						flush_object(&A, pool, 1);
						raw++;
						continue;
					}
					failed++;
					CHECK(err == (dup ? -ENOSPC : -ENOMEM));
					CHECK(get(&A, pool, 1, ~0u, 3, kind) ==
					      -ENOENT);
					CHECK(!get(&A, pool, 1, 0, 1, SAME));
					flush(&A, pool, 1, 0);
					CHECK(stats(&A).used_bytes ==
					      st.used_bytes);
					CHECK(stats(&A).put_fails ==
					      st.put_fails + 1);
				}
				CHECK(!get(&A, pool, 1, ~0u, 3, kind));
				CHECK(!flush_object(&A, pool, 1));
			}
		}
	}
	printf("# %d puts failed\n", failed);
	CHECK(failed > 50);
	CHECK(raw == 2);		/* a second one finds room beside the first */

	/* ... and for lack of room */
	CHECK(!put(&A, 1, 1, 1, 1, NOISE));
	tme_client_set_cap(&A, 3);
	CHECK(put(&A, 1, 1, 1, 2, NOISE) == -ENOSPC);
	CHECK(get(&A, 1, 1, 1, 1, NOISE) == -ENOENT);
	tme_client_set_cap(&A, ULONG_MAX);
	CHECK(!put(&A, 1, 1, 1, 1, NOISE));
	tme_host_set_limit(&host, 3);
	CHECK(put(&A, 1, 1, 1, 2, NOISE) == -ENOSPC);
	CHECK(get(&A, 1, 1, 1, 1, NOISE) == -ENOENT);
	teardown();
}

static void failed_init(void)
{
	int i;

	CHECK(!tme_host_init(&host));
	port_fail_at = port_allocs + 1;
	CHECK(tme_client_init(&host, &A) == -ENOMEM);
	port_fail_at = 0;
	CHECK(!tme_client_init(&host, &A));
	for (i = 0; i < 3; i++) {
		port_fail_at = port_allocs + 1;
		CHECK(tme_new_pool(&A, 0) == -ENOMEM);
		port_fail_at = 0;
	}
	tme_client_set_cap(&A, 1);
	CHECK(tme_new_pool(&A, 0) == -EDQUOT);
	tme_client_set_cap(&A, ULONG_MAX);
	CHECK(stats(&A).used_bytes == 0);
	CHECK(tme_new_pool(&A, 0) == 0);
	destroy(&A);
	tme_host_destroy(&host);
}

static void pool_ids(void)
{
	static const u32 hostile[] = {
		2, 15, 16, 17, 0x7fffffff, 0x80000000, -1u, -2u, -16u, 0x10001,
	};
	unsigned int i;
	u32 flags;
	int id;

	setup();
	for (i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
		u32 p = hostile[i];

		CHECK(put(&A, p, 1, 1, 1, SAME) == -EINVAL);
		CHECK(get(&A, p, 1, 1, 1, SAME) == -EINVAL);
		CHECK(flush(&A, p, 1, 1) == -EINVAL);
		CHECK(flush_object(&A, p, 1) == -EINVAL);
		CHECK(tme_destroy_pool(&A, p) == -EINVAL);
	}
	for (flags = 2; flags; flags <<= 1) {
		CHECK(flags == 2 || tme_new_pool(&A, flags) == -EINVAL);
		CHECK(tme_new_pool(&A, flags | 1) == -EINVAL);
	}
	for (id = 2; id < TME_MAX_POOLS; id++)
		CHECK(tme_new_pool(&A, id & 1) == id);
	CHECK(tme_new_pool(&A, 0) == -ENOSPC);
	CHECK(tme_new_pool(&A, 1) == -ENOSPC);
	/* an id that is used again shows nothing of its past */
	for (i = 0; i < 100; i++) {
		id = rnd() % TME_MAX_POOLS;
		CHECK(!put(&A, id, 1, 1, 1, NOISE));
		CHECK(!put(&A, id, 2, 1, 1, NOISE));
		destroy_pool(&A, id);
		CHECK(put(&A, id, 1, 1, 1, SAME) == -EINVAL);
		CHECK(get(&A, id, 1, 1, 1, NOISE) == -EINVAL);
		CHECK(tme_destroy_pool(&A, id) == -EINVAL);
		CHECK(tme_new_pool(&A, i & 1) == id);
		CHECK(get(&A, id, 1, 1, 1, NOISE) == -ENOENT);
		CHECK(!put(&A, id, 1, 1, 2, NOISE));
		CHECK(!get(&A, id, 1, 1, 2, NOISE));
		CHECK(get(&A, id, 1, 1, 2, NOISE) == (i & 1 ? 0 : -ENOENT));
	}
	teardown();
}

static int stops;

static bool stop_always(void)
{
	stops++;
	return true;
}

/* Each call does something, none does much */
static void bounded_calls(void)
{
	static const u64 oid[3] = { 1, 0, ~1ull };
	const u64 n = 20000;
	u64 left, i;
	int what, pool, stop, err;

	for (what = 0; what < 3; what++) {
		for (stop = 0; stop < 2; stop++) {
			u64 most = stop ? 32 : 512 + 31;

			setup();
			pool = stop;
			for (i = 0; i < n; i++)
				CHECK(!put(&A, pool, what == 1 ? i : 1,
					   what == 1 ? 0 : i, i, SAME));
			port_stop = stop ? stop_always : NULL;
			stops = 0;
			left = n;
			do {
				struct tme_stats st;

				err = what == 0 ?
					tme_flush_object(&A, pool, oid) :
				      what == 1 ? tme_destroy_pool(&A, pool) :
						  tme_client_destroy(&A);
				if (what == 2 && !err)
					break;
				st = stats(&A);
				i = left - st.eph_pages - st.pers_pages;
				CHECK(i <= most && (i || !err));
				left -= i;
			} while (err == -EAGAIN && !failures);
			CHECK(!err);
			CHECK(what == 2 ? left <= most : !left);
			CHECK(!stop || stops >= (int)(n / 32) - 1);
			port_stop = NULL;
			if (what == 2)
				CHECK(!tme_client_init(&host, &A));
			teardown();
		}
	}
}

/* While a pool is dying nobody finds it, and its id is not given out */
static void dying_pool(void)
{
	u64 i;

	setup();
	for (i = 0; i < 200; i++)
		CHECK(!put(&A, 1, i, 0, i, TEXT));
	port_stop = stop_always;
	CHECK(tme_destroy_pool(&A, 1) == -EAGAIN);
	port_stop = NULL;
	for (i = 0; i < 200; i++) {
		CHECK(get(&A, 1, i, 0, i, TEXT) == -EINVAL);
		CHECK(put(&A, 1, i, 0, i, TEXT) == -EINVAL);
		CHECK(flush(&A, 1, i, 0) == -EINVAL);
	}
	CHECK(tme_new_pool(&A, 0) == 2);
	destroy_pool(&A, 1);
	CHECK(tme_new_pool(&A, 0) == 1);
	CHECK(stats(&A).pers_pages == 0);
	teardown();
}

static void cap_is_hard(void)
{
	const u64 cap = 200;
	u64 i, held = 0;
	int err;

	setup();
	tme_client_set_cap(&A, cap);
	for (i = 0; i < 1000; i++) {
		/* ephemeral: makes room for itself, the oldest goes */
		CHECK(!put(&A, 0, i, 0, i, NOISE));
		CHECK(stats(&A).used_bytes <= cap * PAGE_SIZE);
	}
	held = stats(&A).eph_pages;
	CHECK(held > cap * 8 / 10);	/* the rest is metadata */
	CHECK(stats(&A).evicted == 1000 - held);
	for (i = 0; i < 1000; i++)
		CHECK(get(&A, 0, i, 0, i, NOISE) ==
		      (i < 1000 - held ? -ENOENT : 0));

	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, i, 0, i, NOISE));
	held = 0;
	for (i = 0; i < 300; i++) {
		/* persistent: pushes ephemeral out, then is refused */
		err = put(&A, 1, i, 0, i, NOISE);
		CHECK(!err || err == -EDQUOT);
		held += !err;
		CHECK(stats(&A).used_bytes <= cap * PAGE_SIZE);
	}
	CHECK(stats(&A).eph_pages == 0);
	CHECK(held > cap * 8 / 10);
	CHECK(stats(&A).pers_pages == held);
	for (i = 0; i < 300; i++)
		CHECK(get(&A, 1, i, 0, i, NOISE) == (i < held ? 0 : -ENOENT));
	CHECK(stats(&B).evicted == 0);

	/* lowered: by and by, as far as that goes without losing a page */
	tme_client_set_cap(&A, 10);
	CHECK(put(&A, 0, 1, 1, 1, NOISE) == -EDQUOT);
	CHECK(stats(&A).pers_pages == held);
	teardown();
}

/* Nodes, objects and shards count against the cap too */
static void cap_counts_metadata(void)
{
	u64 i, n;

	setup();
	tme_client_set_cap(&A, 100);
	for (n = 0; !put(&A, 1, n, 0, n, SAME); n++)
		CHECK(n < 100 * PAGE_SIZE / 100);
	CHECK(n > 100 * PAGE_SIZE / 200);
	CHECK(stats(&A).used_bytes <= 100 * PAGE_SIZE);
	CHECK(stats(&A).raw_pages + stats(&A).lz4_pages == 0);
	for (i = 0; i < n; i++)
		CHECK(!get(&A, 1, i, 0, i, SAME));
	teardown();
}

static void evicts_the_right_client(void)
{
	const u64 limit = 1024;
	u64 i, n;

	setup();
	tme_host_set_limit(&host, limit);
	for (i = 0; i < 300; i++)
		CHECK(!put(&B, 0, i, 0, i, NOISE));
	/* A takes the rest and then evicts from itself only */
	for (i = 0; i < 2000; i++)
		CHECK(!put(&A, 0, i, 0, i, NOISE));
	CHECK(stats(&B).eph_pages == 300);
	n = stats(&A).eph_pages;
	CHECK(n > 600 && n + 300 < limit);
	/* B grows at the expense of A, until they have the same */
	for (i = 300; i < 2000; i++)
		CHECK(!put(&B, 0, i, 0, i, NOISE));
	n = stats(&B).eph_pages - stats(&A).eph_pages;
	CHECK(n + 40 <= 80);
	CHECK(stats(&B).used_bytes + stats(&A).used_bytes <=
	      limit * PAGE_SIZE);
	/* persistent pages push out the ephemeral ones of others, all of them */
	for (i = 0; !put(&B, 1, i, 0, i, NOISE); i++)
		CHECK(i < limit);
	CHECK(i > limit * 9 / 10);
	CHECK(stats(&A).eph_pages + stats(&B).eph_pages == 0);
	CHECK(stats(&B).pers_pages == i);
	/* what A still puts takes the place of what A has put */
	for (n = 0; n < 100; n++)
		put(&A, 0, n, 1, n, NOISE);
	CHECK(stats(&A).eph_pages <= 16);
	CHECK(stats(&B).pers_pages == i);
	CHECK(stats(&B).used_bytes + stats(&A).used_bytes <=
	      limit * PAGE_SIZE);
	while (i--)
		CHECK(!get(&B, 1, i, 0, i, NOISE));
	teardown();
}

/*
 * Pages that repeat a word take next to nothing.  A client that has many of them
 * is not the one to evict from, and where they are the oldest it takes many of
 * them to make room: no put may fail for that.
 */
static void tiny_pages_starve_nobody(void)
{
	const u64 limit = 2000, tiny = 40000;
	u64 i, n, bytes;
	long freed = 0;

	setup();
	tme_host_set_limit(&host, limit);
	for (n = 0; n < tiny; n++)
		CHECK(!put(&A, 0, n / 64, n % 64, n, SAME));
	for (i = 0; i < 1200; i++)
		CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	for (i = 0; i < 800; i++) {
		CHECK(!put(&B, 1, i / 64, i % 64, i, NOISE));
		CHECK(!put(&A, 0, n / 64, n % 64, n, SAME));
		n++;
	}
	CHECK(stats(&A).eph_pages == n);
	CHECK(stats(&B).evicted > 400);

	/* The oldest of its own, and B has none that could go instead */
	for (i = 0; i < 1200 / 64 + 1; i++)
		flush_object(&B, 0, i);
	for (i = 0; i < 900; i++)
		CHECK(!put(&A, 1, i / 64, i % 64, i, NOISE));
	for (i = 0; i < 900; i++)
		CHECK(!get(&A, 1, i / 64, i % 64, i, NOISE));

	/* What eviction says that it gave back is what is there again */
	bytes = stats(&A).used_bytes;
	n = tme_evict(&host, 1000, &freed);
	CHECK(n && freed > 0);
	CHECK(bytes - stats(&A).used_bytes >= (u64)freed);
	CHECK(tme_client_frames(&A, true) ==
	      (stats(&A).pers_bytes + PAGE_SIZE - 1) / PAGE_SIZE);
	CHECK(stats(&A).pers_bytes > 900 * PAGE_SIZE &&
	      stats(&A).pers_bytes < 950 * PAGE_SIZE);
	teardown();
}

/*
 * Clients whose oldest pages give no memory, as if they lay scattered in slabs,
 * are not a reason not to find the one whose pages do; but no excuse either.
 */
static void dry_clients_hide_nobody(void)
{
	static struct tme_client C;
	long freed = 0;
	u64 i, n;

	setup();
	port_meta_free = true;
	CHECK(!tme_client_init(&host, &C));
	CHECK(tme_new_pool(&C, 0) == 0);
	for (i = 0; i < 10000; i++) {
		CHECK(!put(&A, 0, 0, i, i, SAME));
		CHECK(!put(&B, 0, 0, i, i, SAME));
	}
	for (i = 0; i < 600; i++) {
		CHECK(!put(&A, 0, 1, i, i, NOISE));
		CHECK(!put(&B, 0, 1, i, i, NOISE));
		if (i < 500)
			CHECK(!put(&C, 0, 1, i, i, NOISE));
	}
	CHECK(tme_evict(&host, 96, &freed) == 96);
	CHECK(freed == 32 * (long)PAGE_SIZE);
	n = stats(&C).evicted;
	CHECK(n == 32);
	CHECK(tme_evict(&host, 960, &freed) == 960);
	n = stats(&C).evicted;
	CHECK(n == 352);
	CHECK(stats(&A).evicted == 352 && stats(&B).evicted == 352);
	/* Nobody else is left: on, through what gives nothing */
	while (flush_object(&C, 0, 1) == -EAGAIN)
		;
	freed = 0;
	CHECK(tme_evict(&host, 19500, &freed) == 19500);
	CHECK(freed > 0);
	destroy(&C);
	destroy(&A);
	destroy(&B);
	tme_host_destroy(&host);
	port_meta_free = false;
}

static u64 pers_most;

static void *t_watch_persistent(void *arg)
{
	u64 n, most = 0;

	while (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE)) {
		n = tme_client_frames(&A, true);
		most = n > most ? n : most;
	}
	pers_most = most;
	return NULL;
}

/* What is refused is never counted: a host refuses memory because of that */
static void refused_puts_are_not_counted(void)
{
	int limit, watching = 1;
	pthread_t watcher;
	u64 i, n, frames;

	setup();
	for (limit = 0; limit < 2; limit++) {
		tme_client_set_cap(&A, limit ? ULONG_MAX : 64);
		tme_host_set_limit(&host, limit ? 64 : ULONG_MAX);
		for (n = 0; !put(&A, 1, 1, n, n, NOISE); n++)
			;
		CHECK(n > 20);
		frames = tme_client_frames(&A, true);
		watching = 1;
		pthread_create(&watcher, NULL, t_watch_persistent, &watching);
		for (i = 0; i < 20000; i++)
			CHECK(put(&A, 1, 1, n, n, NOISE));
		__atomic_store_n(&watching, 0, __ATOMIC_RELEASE);
		pthread_join(watcher, NULL);
		CHECK(pers_most == frames);
		CHECK(tme_client_frames(&A, true) == frames);
		CHECK(!flush_object(&A, 1, 1));
	}
	tme_host_set_limit(&host, ULONG_MAX);
	teardown();
}

/* Bytes of ephemeral memory */
static u64 eph_bytes(struct tme_client *client)
{
	return stats(client).used_bytes - stats(client).pers_bytes;
}

/* Whoever puts more often, they come to hold memory as their weights are */
static void weights_share_memory(void)
{
	const u64 limit = 4096;
	u64 i, a, b;

	setup();
	tme_host_set_limit(&host, limit);
	tme_client_set_weight(&A, 50);
	tme_client_set_weight(&B, 150);
	for (i = 0; i < 40000; i++) {
		CHECK(!put(&A, 0, i / 64, i % 64, i, NOISE));
		if (i % 4 == 0)
			CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	}
	a = eph_bytes(&A);
	b = eph_bytes(&B);
	CHECK(a + b > (limit - 40) * PAGE_SIZE);
	CHECK(b * 100 > a * 297 && b * 100 < a * 303);
	/* and when that changes, by and by again */
	tme_client_set_weight(&A, 150);
	tme_client_set_weight(&B, 50);
	for (i = 0; i < 20000; i++) {
		CHECK(!put(&A, 0, i / 64, i % 64, i, NOISE));
		CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	}
	CHECK(eph_bytes(&A) * 100 > eph_bytes(&B) * 297);
	teardown();
}

/* Nobody takes a client's minimum, but its own puts go on */
static void minimum_is_kept(void)
{
	u64 i, n;

	setup();
	tme_host_set_limit(&host, 1000);
	tme_client_set_min(&A, 300);
	tme_client_set_weight(&A, 1);
	for (i = 0; i < 800; i++)
		CHECK(!put(&A, 0, i / 64, i % 64, i, NOISE));
	for (i = 0; i < 5000; i++)
		CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	n = eph_bytes(&A) / PAGE_SIZE;
	CHECK(n >= 299 && n <= 302);
	/* ... and nobody is told that it could be taken */
	CHECK(tme_freeable(&host) <= n - 300 + eph_bytes(&B) / PAGE_SIZE);
	CHECK(tme_freeable(&host) >= 650);
	for (i = 0; !put(&B, 1, i / 64, i % 64, i, NOISE); i++)
		;
	CHECK(i > 600 && i < 700);
	CHECK(eph_bytes(&A) / PAGE_SIZE >= 299);
	CHECK(tme_evict(&host, 1000, NULL) <= 1);
	/* its own puts go on, in the place of its own pages */
	for (i = n = 0; i < 100; i++)
		n += !put(&A, 0, 1000, i, i, NOISE);
	CHECK(n > 90);
	CHECK(eph_bytes(&A) / PAGE_SIZE >= 299);
	CHECK(eph_bytes(&A) / PAGE_SIZE <= 310);
	tme_client_set_min(&A, 0);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 1000, i, i, NOISE));
	teardown();
}

/* What cannot be freed is not said to be: pools cost memory, too */
static void pools_are_not_freeable(void)
{
	u64 i, used;

	setup();
	for (i = 2; i < 16; i++)
		CHECK(tme_new_pool(&A, 0) == (int)i);
	CHECK(tme_freeable(&host) == 0);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 0, i, i, NOISE));
	used = stats(&A).used_bytes;
	i = tme_freeable(&host);
	CHECK(i > 100 - 8);	/* to a chunk */
	CHECK(tme_evict(&host, 1000, NULL) == 100);
	CHECK(used - stats(&A).used_bytes >= i * PAGE_SIZE);
	CHECK(tme_freeable(&host) == 0);
	teardown();
}

/* A get leaves the page in a shared pool, and makes it the last to go */
static void shared_pool(void)
{
	u64 i;
	int id;

	setup();
	CHECK(tme_new_pool(&A, TME_POOL_SHARED | TME_POOL_PERSISTENT) ==
	      -EINVAL);
	id = tme_new_pool(&A, TME_POOL_SHARED);
	CHECK(id == 2);
	CHECK(tme_pool_empty(&A, id));
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, id, 0, i, i, TEXT));
	CHECK(!tme_pool_empty(&A, id));
	CHECK(!get(&A, id, 0, 3, 3, TEXT));
	CHECK(!get(&A, id, 0, 3, 3, TEXT));
	CHECK(stats(&A).eph_pages == 100);
	CHECK(tme_evict(&host, 99, NULL) == 99);
	for (i = 0; i < 100; i++)
		CHECK(get(&A, id, 0, i, i, TEXT) == (i == 3 ? 0 : -ENOENT));
	CHECK(tme_evict(&host, 99, NULL) == 1);
	CHECK(tme_pool_empty(&A, id));
	CHECK(tme_pool_empty(&A, 9) && tme_pool_empty(&A, 99));
	teardown();
}

/* When the host itself has no memory, a put evicts, or fails */
static void short_host_evicts(void)
{
	u64 i;

	setup();
	for (i = 0; i < 2000; i++)
		CHECK(!put(&A, 0, 0, i, i, NOISE));
	port_memory_short = true;
	CHECK(put(&B, 0, 0, 1, 1, NOISE) == -ENOMEM);
	CHECK(stats(&A).evicted == 1024);
	port_memory_short = false;
	CHECK(!put(&B, 0, 0, 1, 1, NOISE));
	CHECK(stats(&A).evicted == 1024);
	teardown();
}

/* An ephemeral page that is not worth a frame is refused, and evicts nothing */
static void useless_raw_page_is_refused(void)
{
	setup();
	tme_client_set_compress(&A, true);
	CHECK(!put(&A, 0, 0, 1, 1, TEXT));
	CHECK(!put(&A, 0, 0, 2, 2, NOISE));
	CHECK(!put(&A, 0, 0, 3, 3, NOISE));
	port_raw_useless = true;
	CHECK(put(&A, 0, 0, 4, 4, NOISE) == -ENOMEM);
	CHECK(put(&A, 0, 0, 3, 5, NOISE) == -ENOSPC);
	CHECK(get(&A, 0, 0, 3, 3, NOISE) == -ENOENT);
	CHECK(!put(&A, 0, 0, 1, 6, TEXT));
	CHECK(!put(&A, 0, 0, 7, 7, SAME));
	CHECK(!put(&A, 1, 0, 8, 8, NOISE));
	tme_client_set_compress(&A, false);
	CHECK(put(&A, 0, 0, 9, 9, TEXT) == -ENOMEM);
	port_raw_useless = false;
	CHECK(!put(&A, 0, 0, 9, 9, TEXT));
	CHECK(get(&A, 0, 0, 2, 2, NOISE) == 0);
	CHECK(stats(&A).evicted == 0);
	teardown();
}

static void evict_order(void)
{
	u64 i;

	setup();
	for (i = 0; i < 1000; i++) {
		CHECK(!put(&A, 0, i % 10, i, i, TEXT));
		CHECK(!put(&A, 1, i % 10, i, i, TEXT));
		if (i < 400)
			CHECK(!put(&B, 0, i % 10, i, i, TEXT));
	}
	CHECK(tme_evictable(&host) == 1400);
	CHECK(tme_evict(&host, 0, NULL) == 0);
	CHECK(tme_evict(&host, 1, NULL) == 1);
	/* a page that is put again moves to the end */
	CHECK(!put(&A, 0, 1, 1, 1001, TEXT));
	CHECK(tme_evict(&host, 498, NULL) == 498);
	CHECK(stats(&A).evicted == 499 && stats(&B).evicted == 0);
	for (i = 0; i < 1000; i++) {
		CHECK(!get(&A, 1, i % 10, i, i, TEXT));
		CHECK(get(&A, 0, i % 10, i, i == 1 ? 1001 : i, TEXT) ==
		      (i >= 500 || i == 1 ? 0 : -ENOENT));
	}
	/* the last ones, then none */
	CHECK(tme_evict(&host, 1000, NULL) == 400);
	CHECK(tme_evict(&host, 1000, NULL) == 0);
	CHECK(tme_evictable(&host) == 0);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 0, i, i, SAME));
	port_stop = stop_always;
	CHECK(tme_evict(&host, 100, NULL) == 32);
	port_stop = NULL;
	teardown();
}

static int reading;		/* 1: somebody is, and stays; 2: may go on */

static void read_slowly(void)
{
	__atomic_store_n(&reading, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&reading, __ATOMIC_SEQ_CST) == 1)
		sched_yield();
}

static void *t_slow_reader(void *arg)
{
	CHECK(!get(&A, 2, 1, 1, 1, TEXT));
	return NULL;
}

static void *t_evict_one(void *arg)
{
	*(unsigned long *)arg = tme_evict(&host, 1, NULL);
	return NULL;
}

/* Who keeps using a shard does not keep its pages from being evicted */
static void busy_shard_is_waited_for(void)
{
	pthread_t reader, evictor;
	unsigned long evicted;

	setup();
	CHECK(tme_new_pool(&A, TME_POOL_SHARED) == 2);
	tme_client_set_compress(&A, true);
	CHECK(!put(&A, 2, 1, 1, 1, TEXT));
	reading = 0;
	port_reading = read_slowly;
	pthread_create(&reader, NULL, t_slow_reader, NULL);
	while (!__atomic_load_n(&reading, __ATOMIC_SEQ_CST))
		sched_yield();
	pthread_create(&evictor, NULL, t_evict_one, &evicted);
	usleep(20000);
	__atomic_store_n(&reading, 2, __ATOMIC_SEQ_CST);
	pthread_join(reader, NULL);
	pthread_join(evictor, NULL);
	port_reading = NULL;
	CHECK(evicted == 1);
	CHECK(get(&A, 2, 1, 1, 1, TEXT) == -ENOENT);
	teardown();
}

static void *t_keeps_busy(void *arg)
{
	static const u64 oid[3] = { 1, 0, ~1ull };

	while (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE))
		CHECK(tme_lookup(&A, 0, oid, 1 << 20) == -ENOENT);
	return NULL;
}

/* A client whose shard is never free for long loses its pages as any other */
static void busy_client_is_evicted(void)
{
	pthread_t thread[4];
	int busy = 1, i, got = 0;

	setup();
	for (i = 0; i < 2000; i++)
		CHECK(!put(&A, 0, 1, i, i, SAME));
	CHECK(!put(&B, 0, 1, 1, 1, SAME));
	for (i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, t_keeps_busy, &busy);
	for (i = 0; i < 1000; i++)
		got += tme_evict(&host, 1, NULL);
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	CHECK(got == 1000);
	CHECK(stats(&A).evicted == 1000);
	teardown();
}

/* No weight is so large that what its client has could not be evicted */
static void weight_hides_no_memory(void)
{
	u64 i;

	setup();
	tme_client_set_weight(&A, UINT_MAX);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 0, i, i, NOISE));
	CHECK(tme_evict(&host, 40, NULL) == 40);
	/* ... nor is it taken for a client that gives nothing */
	for (i = 0; i < 100; i++)
		CHECK(!put(&B, 0, 0, i, i, SAME));
	tme_host_set_limit(&host, 100);
	for (i = 0; i < 100; i++)
		CHECK(!put(&B, 1, 0, i, i, NOISE) || i > 60);
	CHECK(stats(&A).eph_pages == 0);
	teardown();
}

static void compress_toggled(void)
{
	struct tme_stats st;
	u64 i, raw = 0;

	setup();
	for (i = 0; i < 3000; i++) {
		tme_client_set_compress(&A, i & 1);
		raw += i % 3 == NOISE || (i % 3 == TEXT && !(i & 1));
		CHECK(!put(&A, 1, i % 7, i, i, i % 3));
	}
	st = stats(&A);
	CHECK(st.raw_pages == raw);
	CHECK(st.lz4_pages == 500);
	CHECK(st.slot_frames > 0 && st.slot_frames < 500 / 2);
	CHECK(st.pers_pages == 3000);
	for (i = 0; i < 3000; i++)
		CHECK(!get(&A, 1, i % 7, i, i, i % 3));
	/* a slot allocator full of gaps is counted as what it takes */
	for (i = 0; i < 3000; i++)
		if (i % 8 != 7)
			CHECK(!flush(&A, 1, i % 7, i));
	CHECK(stats(&A).lz4_pages == 125);
	CHECK(stats(&A).slot_frames * 4 > st.slot_frames);
	for (i = 7; i < 3000; i += 8)
		CHECK(!flush(&A, 1, i % 7, i));
	CHECK(stats(&A).slot_frames == 0);
	teardown();
}

/* What a port's slots give back by themselves is there for the next put */
static void slots_shrink_by_themselves(void)
{
	u64 i, nr;
	int limit;

	setup();
	tme_client_set_compress(&A, true);
	for (limit = 0; limit < 2; limit++) {
		tme_client_set_cap(&A, limit ? ULONG_MAX : 256);
		tme_host_set_limit(&host, limit ? 256 : ULONG_MAX);
		port_keep_spans = true;
		for (nr = 0; !put(&A, 1, 1, nr, nr, TEXT); nr++)
			;
		CHECK(nr > 256);
		for (i = 0; i < nr; i++)
			CHECK(!flush(&A, 1, 1, i));
		for (nr = 0; !put(&A, 1, 1, nr, nr, NOISE); nr++)
			;
		CHECK(nr < 256 / 3);
		port_keep_spans = false;
		port_compact(A.slots[1]);
		for (; nr < 128; nr++)
			CHECK(!put(&A, 1, 1, nr, nr, NOISE));
		CHECK(!flush_object(&A, 1, 1));
	}
	tme_host_set_limit(&host, ULONG_MAX);
	teardown();
}

static void corruption_is_no_hit(void)
{
	setup();
	tme_client_set_compress(&A, true);
	CHECK(!put(&A, 0, 1, 1, 1, TEXT));
	CHECK(!put(&A, 1, 1, 1, 1, TEXT));
	port_corrupt = true;
	CHECK(get(&A, 0, 1, 1, 1, TEXT) == -EIO);
	CHECK(get(&A, 0, 1, 1, 1, TEXT) == -ENOENT);
	CHECK(get(&A, 1, 1, 1, 1, TEXT) == -EIO);
	port_corrupt = false;
	CHECK(port_warnings == 2);
	port_warnings = 0;
	CHECK(!get(&A, 1, 1, 1, 1, TEXT));
	teardown();
}

/*
 * Threads: four workers on two clients, and one thread each that evicts, that
 * makes and destroys pools, and that reads the numbers.  A page holds its
 * handle and a number of the put, from which all its bytes follow.
 */
#define T_WORKERS	4
#define T_OPS		60000
#define T_OIDS		24

static struct tme_client t_client[2];
static int t_running;

static u64 t_seed(int c, int p, int o, u32 idx, u32 n)
{
	return (u64)c << 60 | (u64)p << 56 | (u64)o << 48 |
	       (u64)(idx & 0xff) << 40 | n;
}

/* Does the page hold some put to this handle? */
static bool t_is(const page_t *page, int c, int p, int o, u32 idx, u32 max)
{
	u64 seed = page_seed(page);
	u32 n = seed & 0xff;

	return n < max && seed == t_seed(c, p, o, idx, n) &&
	       is(page, seed, n % KINDS);
}

static void *t_worker(void *arg)
{
	int id = (long)arg, n;
	u64 x = id * 77777 + 1, hits = 0;
	/* handles of persistent pages that only this thread uses */
	int mine[2][8] = { { 0 } };

	for (n = 1; n <= T_OPS; n++) {
		int c, o, p, kind;
		u32 idx, k;
		u64 oid[3];
		page_t page;
		int err;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		c = x & 1;
		o = (x >> 8) % T_OIDS;
		idx = (x >> 16) % 8;
		k = (x >> 24) % 9;		/* which of nine contents */
		kind = k % KINDS;
		p = (x >> 32) % 8 ? (x >> 40) & 1 : 2;
		if (p == 1)
			o = 100 + id;		/* mine alone */
		oid[0] = o;
		oid[1] = 0;
		oid[2] = ~(u64)o;
		switch ((x >> 48) % 8) {
		case 0 ... 3:
			err = put(&t_client[c], p, o, idx,
				  t_seed(c, p, o, idx, k), kind);
			CHECK(!err || err == -ENOMEM || err == -EDQUOT || err == -ENOSPC ||
			      (p == 2 && err == -EINVAL));
			if (p == 1)
				mine[c][idx] = err ? 0 : k + 1;
			break;
		case 4 ... 5:
			err = tme_get(&t_client[c], p, oid, idx, &page);
			if (!err) {
				CHECK(t_is(&page, c, p, o, idx, 9));
				hits++;
			} else {
				CHECK(err == -ENOENT ||
				      (p == 2 && err == -EINVAL));
			}
			if (p == 1) {
				k = mine[c][idx] - 1;
				CHECK(!err == !!mine[c][idx]);
				CHECK(err || is(&page, t_seed(c, p, o, idx, k),
						k % KINDS));
			}
			break;
		case 6:
			err = tme_flush_page(&t_client[c], p, oid, idx);
			if (p == 1) {
				CHECK(!err == !!mine[c][idx]);
				mine[c][idx] = 0;
			}
			break;
		case 7:
			if ((x >> 52) % 8)
				break;
			err = tme_flush_object(&t_client[c], p, oid);
			CHECK(err != -EAGAIN || p == 2);
			if (p == 1)
				memset(mine[c], 0, sizeof(mine[c]));
			break;
		}
	}
	CHECK(hits > 1000);
	__atomic_sub_fetch(&t_running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *t_evictor(void *arg)
{
	while (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE)) {
		tme_evict(&host, 5, NULL);
		sched_yield();
	}
	return NULL;
}

static void *t_pools(void *arg)
{
	int c, n, err;

	for (n = 0; __atomic_load_n(&t_running, __ATOMIC_ACQUIRE); n++) {
		c = n & 1;
		while ((err = tme_destroy_pool(&t_client[c], 2)) == -EAGAIN)
			;
		CHECK(!err);
		while ((err = tme_new_pool(&t_client[c], n >> 1 & 1)) < 0)
			CHECK(err == -ENOMEM || err == -EDQUOT);
		CHECK(err == 2);
		tme_client_set_compress(&t_client[c], n >> 2 & 1);
		sched_yield();
	}
	CHECK(n > 10);
	return NULL;
}

static void *t_stats(void *arg)
{
	struct tme_stats st;
	u64 n = 0;

	while (__atomic_load_n(&t_running, __ATOMIC_ACQUIRE)) {
		tme_client_stats(&t_client[n++ & 1], &st);
		/* each may be about to find that it has to evict */
		CHECK(st.used_bytes <= (320 + 8 * T_WORKERS) * PAGE_SIZE);
		sched_yield();
	}
	return NULL;
}

static void threads(void)
{
	pthread_t worker[T_WORKERS], evictor, pools, reader;
	int evicting = 1, c, p;
	u64 evicted = 0;
	long i;

	CHECK(!tme_host_init(&host));
	tme_host_set_limit(&host, 320);
	for (c = 0; c < 2; c++) {
		CHECK(!tme_client_init(&host, &t_client[c]));
		tme_client_set_cap(&t_client[c], c ? 128 : ULONG_MAX);
		for (p = 0; p < 3; p++)
			CHECK(tme_new_pool(&t_client[c], p & 1) == p);
	}
	t_running = T_WORKERS;
	for (i = 0; i < T_WORKERS; i++)
		pthread_create(&worker[i], NULL, t_worker, (void *)i);
	pthread_create(&pools, NULL, t_pools, NULL);
	pthread_create(&reader, NULL, t_stats, NULL);
	pthread_create(&evictor, NULL, t_evictor, &evicting);
	for (i = 0; i < T_WORKERS; i++)
		pthread_join(worker[i], NULL);
	pthread_join(pools, NULL);
	pthread_join(reader, NULL);

	/* the evictor still runs while its victims are destroyed */
	for (c = 0; c < 2; c++) {
		struct tme_stats st;

		for (i = 0; i < 200; i++)
			put(&t_client[c], 0, i, 0, i, NOISE);
		tme_client_stats(&t_client[c], &st);
		evicted += st.evicted;
		destroy(&t_client[c]);
	}
	__atomic_store_n(&evicting, 0, __ATOMIC_RELEASE);
	pthread_join(evictor, NULL);
	CHECK(evicted > 1000);
	tme_host_destroy(&host);
}

static void *t_pool_life(void *arg)
{
	int n, err;

	for (n = 0; n < 2000; n++) {
		/* Others may have destroyed the one that this has made */
		err = tme_new_pool(&A, n & 1);
		CHECK(err == 2 || err == 3);
		put(&A, 2, n & 3, n, n, SAME);
		put(&A, 3, n & 3, n, n, SAME);
		tme_destroy_pool(&A, err);
		err = tme_destroy_pool(&A, 2 + (n >> 1 & 1));
		CHECK(!err || err == -EAGAIN || err == -EINVAL);
	}
	return NULL;
}

/* Who destroys a pool that somebody else has just made finds all of it made */
static void pools_come_and_go(void)
{
	pthread_t thread[2];
	int i;

	setup();
	for (i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, t_pool_life, NULL);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	teardown();
}

static void *t_putter(void *arg)
{
	static const u64 oid[3];
	page_t page;
	u32 n;

	fill(&page, 1, NOISE);
	for (n = 0; __atomic_load_n((int *)arg, __ATOMIC_ACQUIRE); n++)
		tme_put(&A, 2, oid, n & 7, &page);
	return NULL;
}

/* A put that began in a pool's last life brings no page of that kind to the next */
static void put_knows_its_pool(void)
{
	pthread_t putter;
	int putting = 1, n;

	setup();
	CHECK(tme_new_pool(&A, 0) == 2);
	pthread_create(&putter, NULL, t_putter, &putting);
	for (n = 0; n < 20000 && !failures; n++) {
		destroy_pool(&A, 2);
		CHECK(tme_new_pool(&A, n & 1) == 2);
		if (n & 1) {
			sched_yield();
			CHECK(!tme_evictable(&host));
		}
	}
	__atomic_store_n(&putting, 0, __ATOMIC_RELEASE);
	pthread_join(putter, NULL);
	teardown();
}

/* Clients come and go while others evict from them */
static void *t_client_life(void *arg)
{
	struct tme_client *client = malloc(sizeof(*client));
	int n, i, err;

	for (n = 0; n < 100; n++) {
		CHECK(!tme_client_init(&host, client));
		while ((err = tme_new_pool(client, 0)) == -ENOMEM)
			sched_yield();
		CHECK(!err);
		for (i = 0; i < 300; i++)
			CHECK(put(client, 0, i & 7, i, i, NOISE) != -EINVAL);
		destroy(client);
		/* whoever touches it now is found out */
		memset(client, 0x5a, sizeof(*client));
	}
	free(client);
	__atomic_sub_fetch(&t_running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void clients_come_and_go(void)
{
	pthread_t thread[3], evictor;
	int evicting = 1;
	long i;

	CHECK(!tme_host_init(&host));
	tme_host_set_limit(&host, 512);
	for (i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, t_client_life, (void *)i);
	pthread_create(&evictor, NULL, t_evictor, &evicting);
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	__atomic_store_n(&evicting, 0, __ATOMIC_RELEASE);
	pthread_join(evictor, NULL);
	tme_host_destroy(&host);
}

/*
 * Many clients
 */
#define MANY	1000

/* All that the host counts, in frames */
static unsigned long host_frames(void)
{
	return 8 * (atomic_long_read(&host.chunks[0]) +
		    atomic_long_read(&host.chunks[1]));
}

static struct tme_client *many_clients(int nr)
{
	struct tme_client *c = aligned_alloc(64, nr * sizeof(*c));
	int i;

	for (i = 0; i < nr; i++) {
		CHECK(!tme_client_init(&host, &c[i]));
		CHECK(tme_new_pool(&c[i], 0) == 0);
		CHECK(tme_new_pool(&c[i], TME_POOL_PERSISTENT) == 1);
	}
	return c;
}

static void destroy_many(struct tme_client *c, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		destroy(&c[i]);
	free(c);
}

/* What is said to be freeable is so, to a chunk per client */
static void freeable_is_what_comes(void)
{
	struct tme_client *c;
	u64 i, there, used = 0, left = 0;

	CHECK(!tme_host_init(&host));
	c = many_clients(50);
	CHECK(tme_freeable(&host) == 0);
	for (i = 0; i < 50; i++) {
		u64 n;

		for (n = 0; n < i * 20; n++)
			CHECK(!put(&c[i], n % 3 == 0, n, n, n, NOISE));
		tme_client_set_min(&c[i], i % 2 ? 0 : i * 4);
	}
	there = tme_freeable(&host);
	for (i = 0; i < 50; i++)
		used += eph_bytes(&c[i]);
	while (tme_evict(&host, 1000, NULL))
		;
	for (i = 0; i < 50; i++)
		left += eph_bytes(&c[i]);
	CHECK(tme_freeable(&host) <= 50);
	/* ... but for what an eviction takes beyond a minimum */
	CHECK((used - left) / PAGE_SIZE >= there);
	CHECK((used - left) / PAGE_SIZE <= there + 50 * 10);
	/* No minimum any more, and a higher one */
	for (i = 0; i < 50; i++)
		tme_client_set_min(&c[i], 0);
	used = tme_freeable(&host);
	CHECK(used > 500);
	CHECK(used <= left / PAGE_SIZE);
	tme_client_set_min(&c[48], 10000);
	CHECK(tme_freeable(&host) < used);
	/* A client that goes takes its part with it, from the start on */
	used = tme_freeable(&host);
	for (i = 0; i < 1000; i++)
		CHECK(!put(&c[0], 0, i, i, i, NOISE));
	CHECK(tme_freeable(&host) >= used + 1000 - 8);
	CHECK(tme_client_destroy(&c[0]) == -EAGAIN);
	CHECK(tme_freeable(&host) <= used);
	destroy_many(c, 50);
	tme_host_destroy(&host);
}

static u64 cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static volatile unsigned long sink;

static void ask_freeable(struct tme_client *c, int n)
{
	sink += tme_freeable(&host);
}

static page_t noise;

static void put_at_limit(struct tme_client *c, int n)
{
	u64 oid[3] = { 1 };

	CHECK(!tme_put(&c[0], 0, oid, n, &noise));
}

static void put_in_vain(struct tme_client *c, int n)
{
	CHECK(put(&c[0], 1, n / 64, n % 64, n, NOISE));
}

/* Of the fastest of some rounds: others may use the machine */
static u64 ns_of(void (*func)(struct tme_client *c, int n),
		 struct tme_client *c, int n)
{
	u64 best = ~0ull, t;
	int round, i;

	for (round = 0; round < 9; round++) {
		t = cpu_ns();
		for (i = 0; i < n; i++)
			func(c, round * n + i);
		t = cpu_ns() - t;
		best = t < best ? t : best;
	}
	return best / n;
}

/*
 * Nothing that is done often looks at all clients: neither a question how much
 * is freeable, which the heap asks under its lock, nor a put at the limit, nor
 * one that finds nothing to evict.  Before, the factors were hundreds.
 */
static void clients_cost_nothing(void)
{
	static const int nr[2] = { 2, MANY };
	u64 ask[2], full[2], vain[2];
	struct tme_client *c;
	int i, n;

	fill(&noise, 1, NOISE);
	for (i = 0; i < 2; i++) {
		CHECK(!tme_host_init(&host));
		c = many_clients(nr[i]);
		for (n = 0; n < nr[i]; n++)
			CHECK(!put(&c[n], 0, 1, 1, n, NOISE));
		for (n = 0; n < 4000; n++)
			CHECK(!put(&c[0], 0, n / 64, n % 64, n, NOISE));
		ask[i] = ns_of(ask_freeable, c, 1000);
		/* as much as they have, and a little more */
		tme_host_set_limit(&host, host_frames() + 4);
		full[i] = ns_of(put_at_limit, c, 2000);
		tme_host_set_limit(&host, 10);
		for (n = 0; n < nr[i]; n++)
			tme_client_set_min(&c[n], 100000);
		put(&c[0], 1, 0, 0, 0, NOISE);
		vain[i] = ns_of(put_in_vain, c, 2000);
		destroy_many(c, nr[i]);
		tme_host_destroy(&host);
	}
	printf("# %d and %d clients: freeable %lu, %lu ns, put %lu, %lu ns, ",
	       nr[0], nr[1], ask[0], ask[1], full[0], full[1]);
	printf("in vain %lu, %lu ns\n", vain[0], vain[1]);
	CHECK(ask[1] <= 3 * ask[0] + 20);
	CHECK(full[1] <= 2 * full[0]);
	CHECK(vain[1] <= 2 * vain[0]);
}

/* A search for a put that was in vain does not hide what others get after it */
static void last_page_is_found(void)
{
	struct tme_client *c;
	int i;

	CHECK(!tme_host_init(&host));
	c = many_clients(20);
	for (i = 0; i < 20; i++) {
		tme_host_set_limit(&host, 10);
		CHECK(put(&c[0], 1, 1, 1, 1, NOISE));
		tme_host_set_limit(&host, ULONG_MAX);
		CHECK(!put(&c[i], 0, 1, 1, 1, NOISE));
		CHECK(tme_evict(&host, 1, NULL) == 1);
		CHECK(tme_evict(&host, 1, NULL) == 0);
	}
	destroy_many(c, 20);
	tme_host_destroy(&host);
}

#define SHARERS		16

static struct tme_client *sharers;

static void *t_sharer(void *arg)
{
	struct tme_client *client = &sharers[(long)arg];
	u64 oid[3] = { 1 }, seed;
	page_t page;
	u32 n;

	for (n = 0; n < 12000; n++) {
		seed = (u64)(long)arg << 32 | n;
		fill(&page, seed, NOISE);
		CHECK(!tme_put(client, 0, oid, n, &page));
		sched_yield();
	}
	return NULL;
}

/*
 * Weights hold with as many CPUs as there are clients, too, and against one
 * that does nothing but have much
 */
static void weights_hold_for_threads(void)
{
	const u64 limit = 16384;
	pthread_t thread[SHARERS];
	u64 hog, light = 0, heavy = 0, fair;
	long i;

	CHECK(!tme_host_init(&host));
	tme_host_set_limit(&host, limit);
	sharers = many_clients(SHARERS + 1);
	for (i = 0; i < SHARERS; i++)
		tme_client_set_weight(&sharers[i], i % 2 ? 300 : 100);
	for (i = 0; i < (long)limit; i++)
		CHECK(!put(&sharers[SHARERS], 0, i / 64, i % 64, i, NOISE));
	for (i = 0; i < SHARERS; i++)
		pthread_create(&thread[i], NULL, t_sharer, (void *)i);
	for (i = 0; i < SHARERS; i++)
		pthread_join(thread[i], NULL);
	hog = eph_bytes(&sharers[SHARERS]) / PAGE_SIZE;
	for (i = 0; i < SHARERS; i++)
		*(i % 2 ? &heavy : &light) +=
			eph_bytes(&sharers[i]) / PAGE_SIZE;
	fair = (light + heavy + hog) / (SHARERS / 2 * 4 + 1);
	printf("# of %lu: %lu light, %lu heavy, %lu idle, whose share is %lu\n",
	       limit, light, heavy, hog, fair);
	CHECK(light + heavy + hog > limit * 9 / 10);
	CHECK(hog * 10 <= fair * 11);
	CHECK(heavy * 10 >= light * 27 && heavy * 10 <= light * 33);
	destroy_many(sharers, SHARERS + 1);
	tme_host_destroy(&host);
}

/* A put that cannot choose, as another is choosing, takes the last victim */
static void busy_host_has_a_victim(void)
{
	u64 i;

	setup();
	for (i = 0; i < 1000; i++)
		CHECK(!put(&A, 0, 0, i, i, NOISE));
	tme_host_set_limit(&host, host_frames());
	for (i = 0; i < 16; i++)
		CHECK(!put(&B, 1, 0, i, i, NOISE));
	spin_lock(&host.lock);
	for (; i < 400; i++)
		CHECK(!put(&B, 1, 0, i, i, NOISE));
	/* ... but not more than the client has that puts */
	for (i = 0; i < 600; i++)
		CHECK(!put(&B, 0, 0, i, i, NOISE));
	spin_unlock(&host.lock);
	CHECK(stats(&B).eph_pages + 32 >= stats(&A).eph_pages);
	CHECK(stats(&B).eph_pages <= stats(&A).eph_pages + 32);
	CHECK(stats(&B).pers_pages == 400);
	teardown();
}

static void *t_persistent(void *arg)
{
	struct tme_client *client = &sharers[(long)arg];
	u64 oid[3] = { 1 };
	page_t page;
	u32 n;

	fill(&page, (long)arg, NOISE);
	for (n = 0; n < 300; n++) {
		CHECK(!tme_put(client, 1, oid, n, &page));
		sched_yield();
	}
	return NULL;
}

/* As long as any client has a page to evict, no put fails */
static void puts_find_who_has_pages(void)
{
	pthread_t thread[SHARERS];
	struct tme_client *rich;
	long i;

	CHECK(!tme_host_init(&host));
	sharers = many_clients(SHARERS + 200);
	rich = &sharers[SHARERS + 100];
	for (i = 0; i < SHARERS; i++) {
		tme_client_set_min(&sharers[i], i % 2 * 1000);
		CHECK(!put(&sharers[i], 0, 1, 1, 1, NOISE));
	}
	for (i = 0; i < 7000; i++)
		CHECK(!put(rich, 0, i / 64, i % 64, i, NOISE));
	tme_host_set_limit(&host, host_frames());
	for (i = 0; i < SHARERS; i++)
		pthread_create(&thread[i], NULL, t_persistent, (void *)i);
	for (i = 0; i < SHARERS; i++)
		pthread_join(thread[i], NULL);
	for (i = 0; i < SHARERS; i++)
		CHECK(stats(&sharers[i]).pers_pages == 300);
	destroy_many(sharers, SHARERS + 200);
	tme_host_destroy(&host);
}

#define T(func) { #func, func }
static const struct {
	const char *name;
	void (*func)(void);
} tests[] = {
	T(put_get_flush),
	T(almost_same_filled),
	T(index_extremes),
	T(index_shrinks),
	T(index_is_full),
	T(metadata_per_page),
	T(hash_growth),
	T(hash_collisions),
	T(hash_chains_are_bounded),
	T(hash_merges_no_long_chains),
	T(hash_merges_chains),
	T(failed_put_removes_old),
	T(failed_init),
	T(pool_ids),
	T(bounded_calls),
	T(dying_pool),
	T(cap_is_hard),
	T(cap_counts_metadata),
	T(evicts_the_right_client),
	T(refused_puts_are_not_counted),
	T(tiny_pages_starve_nobody),
	T(dry_clients_hide_nobody),
	T(weights_share_memory),
	T(minimum_is_kept),
	T(pools_are_not_freeable),
	T(shared_pool),
	T(short_host_evicts),
	T(useless_raw_page_is_refused),
	T(evict_order),
	T(busy_shard_is_waited_for),
	T(busy_client_is_evicted),
	T(weight_hides_no_memory),
	T(compress_toggled),
	T(slots_shrink_by_themselves),
	T(corruption_is_no_hit),
	T(threads),
	T(pools_come_and_go),
	T(put_knows_its_pool),
	T(clients_come_and_go),
	T(freeable_is_what_comes),
	T(clients_cost_nothing),
	T(last_page_is_found),
	T(weights_hold_for_threads),
	T(busy_host_has_a_victim),
	T(puts_find_who_has_pages),
};

/* test [NAME...]: all tests, or those that are named */
int main(int argc, char **argv)
{
	const int n = sizeof(tests) / sizeof(*tests);
	int i, j, bad = 0, nr = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	pages_init();
	printf("TAP version 13\n1..%d\n", argc > 1 ? argc - 1 : n);
	for (i = 0; i < n; i++) {
		for (j = 1; j < argc && strcmp(argv[j], tests[i].name); j++)
			;
		if (argc > 1 && j == argc)
			continue;
		failures = 0;
		rnd_state = 12345;
		tests[i].func();
		CHECK(port_allocated == 0);
		CHECK(port_warnings == 0);
		printf("%s %d - %s (%s)\n", failures ? "not ok" : "ok", ++nr,
		       tests[i].name, SANITIZER);
		bad += !!failures;
		port_allocated = 0;
		port_warnings = 0;
	}
	if (argc > 1 && nr != argc - 1) {
		printf("Bail out! no such test\n");
		return 2;
	}
	return !!bad;
}
