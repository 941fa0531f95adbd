// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: tests of put, get and flush: what is stored is found again, and
 * nothing else is.
 */
#include "test.h"

static void put_get_flush(void)
{
	enum kind kind, other;
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
				other = KINDS - 1 - kind;
				CHECK(!put(&A, pool, 7, 1, 9, other));
				CHECK(!get(&A, pool, 7, 1, 9, other));
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

/* Memory depends on what is stored now: a far page leaves no high tree */
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
	ix.nr = ~0u;		/* pretend, for they would take 16 TiB */
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
	printf("# pages that share an object: %.1f bytes each\n",
	       meta / 65536.);
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
	tme_port_random(host.key, sizeof(host.key));
	for (word = 0; word < 6; word++) {
		u64 start = rnd_state;

		for (seen = i = 0; i < 1000; i++) {
			u64 meta = stats(&A).meta_bytes;

			memset(oid, 0, sizeof(oid));
			oid[word / 2] = (u64)(u32)rnd() << word % 2 * 32;
			CHECK(!tme_put(&A, 1, oid, 0, &page));
			/* a shard's second object takes a node */
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
	/* objects that are there take more pages, and other clients put */
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
 * buckets are 64 objects.  Then those objects go that made the table large
 * enough for 16 buckets.
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
	/* each object that goes merges a bucket at most */
	oid[0] = 1;
	for (i = 0; i < 32768; i++) {
		CHECK(!tme_put(&A, 1, oid, 0, &page));
		CHECK(!tme_flush_page(&A, 1, oid, 0));
	}
	CHECK(stats(&A).pers_pages == 1024);
	/* as one or two chains they would take next to no nodes */
	CHECK(meta - stats(&A).meta_bytes > (32768 - 16) * one);
	meta = stats(&A).meta_bytes - stats(&B).meta_bytes;
	CHECK(meta > 1024 * one + 16 * 136);
	CHECK(meta < 1024 * one + 64 * 136);
	/* all are there, and when they go the table gets small again */
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
	/* each object that goes merges one bucket; 8 with 0 comes last */
	for (round = 0; round < 16; round++) {
		CHECK(!put(&A, 1, 1, 0, 1, SAME));
		CHECK(!flush(&A, 1, 1, 0));
		for (i = 0; i < 3; i++)
			CHECK(!get(&A, 1, stay[i], 0, i, SAME));
	}
	teardown();
}

/* What became of the puts in which an allocation failed */
struct outcome {
	int failed;		/* the put failed as a whole */
	int raw;		/* it got no slot, and took a frame */
};

/*
 * Let allocation number @site of a put fail.  The put fails as a whole, unless
 * another kind of memory will do.  Return: false when the put made fewer
 * allocations.
 */
static bool fail_at(int site, int pool, bool dup, enum kind kind,
		    struct outcome *outcome)
{
	struct tme_stats st = stats(&A);
	long allocs;
	int err;

	/* far apart: needs 15 nodes */
	CHECK(!put(&A, pool, 1, 0, 1, SAME));
	if (dup)
		CHECK(!put(&A, pool, 1, ~0u, 2, KINDS - 1 - kind));
	allocs = port_allocs;
	port_fail_at = allocs + site;
	err = put(&A, pool, 1, ~0u, 3, kind);
	port_fail_at = 0;
	if (!err && port_allocs < allocs + site)
		return false;
	/* a descriptor is tried for twice */
	if (site == 1)
		CHECK(!err);
	if (!err) {
		if (site > 1) {
			CHECK(kind == TEXT);
			CHECK(stats(&A).raw_pages == 1);
			CHECK(!get(&A, pool, 1, ~0u, 3, kind));
			outcome->raw++;
		}
		flush_object(&A, pool, 1);
		return true;
	}
	outcome->failed++;
	CHECK(err == (dup ? -ENOSPC : -ENOMEM));
	CHECK(get(&A, pool, 1, ~0u, 3, kind) == -ENOENT);
	CHECK(!get(&A, pool, 1, 0, 1, SAME));
	flush(&A, pool, 1, 0);
	CHECK(stats(&A).used_bytes == st.used_bytes);
	CHECK(stats(&A).put_fails == st.put_fails + 1);
	return true;
}

static void failed_put_removes_old(void)
{
	struct outcome outcome = {};
	int pool, dup, site;
	enum kind kind;

	setup();
	tme_client_set_compress(&A, true);
	for (kind = 0; kind < KINDS; kind++) {
		for (pool = 0; pool < 2; pool++) {
			for (dup = 0; dup < 2; dup++) {
				site = 1;
				while (fail_at(site, pool, dup, kind, &outcome))
					site++;
				CHECK(!get(&A, pool, 1, ~0u, 3, kind));
				CHECK(!flush_object(&A, pool, 1));
			}
		}
	}
	printf("# %d puts failed\n", outcome.failed);
	CHECK(outcome.failed > 50);
	/* a second one finds room beside the first */
	CHECK(outcome.raw == 2);

	/* for lack of room */
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

/*
 * Let each allocation of a new object's put fail in turn.  The hash table can
 * grow another time; but the object needs a place in it.
 */
static void failed_put_of_new_object(void)
{
	int others, site, err, failed = 0;
	u64 used;

	setup();
	memset(host.key, 0, sizeof(host.key));
	host.key[0] = 64ull << 32;	/* one shard, and the id is the hash */
	for (others = 1; others < 3; others++) {
		for (site = 1; site < 8; site++) {
			CHECK(!put(&A, 1, 0, 0, 0, SAME));
			/* leaves bucket 1 empty: object 1 takes a node there */
			if (others == 2)
				CHECK(!put(&A, 1, 2, 0, 2, SAME));
			used = stats(&A).used_bytes;
			port_fail_at = port_allocs + site;
			err = put(&A, 1, 1, 0, 1, SAME);
			port_fail_at = 0;
			CHECK(!err || err == -ENOMEM);
			failed += !!err;
			CHECK(!err || stats(&A).used_bytes == used);
			CHECK(get(&A, 1, 1, 0, 1, SAME) == (err ? -ENOENT : 0));
			CHECK(!get(&A, 1, 0, 0, 0, SAME));
			CHECK(others == 1 || !get(&A, 1, 2, 0, 2, SAME));
			CHECK(!flush_object(&A, 1, 0));
			CHECK(others == 1 || !flush_object(&A, 1, 2));
			CHECK(err || !flush_object(&A, 1, 1));
		}
	}
	/* the object, twice, and the node of bucket 1 */
	CHECK(failed == 3);
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

const struct test store_tests[] = {
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
	T(failed_put_of_new_object),
	T(shared_pool),
	T(compress_toggled),
	T(corruption_is_no_hit),
	{}
};
