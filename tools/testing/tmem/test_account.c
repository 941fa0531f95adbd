// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: tests of what memory is counted, and that no limit is exceeded.
 */
#include "test.h"

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

	/* lowered: each put evicts, but no persistent page is lost */
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

static u64 pers_most;

static void *t_watch_persistent(void *arg)
{
	u64 n, most = 0;

	/* once at least, however late this thread runs */
	do {
		n = tme_client_frames(&A, true);
		most = n > most ? n : most;
	} while (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE));
	pers_most = most;
	return NULL;
}

/* What is refused is never counted: hosts refuse memory for what is counted */
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

/* What cannot be freed does not count as freeable: pools cost memory, too */
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

/* What an arena gives back by itself is free for the next put */
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
		port_compact(A.arena[1]);
		for (; nr < 128; nr++)
			CHECK(!put(&A, 1, 1, nr, nr, NOISE));
		CHECK(!flush_object(&A, 1, 1));
	}
	tme_host_set_limit(&host, ULONG_MAX);
	teardown();
}

/* tme_freeable() is what can be freed, to a chunk per client */
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
	/* one eviction may take a client below its minimum */
	CHECK((used - left) / PAGE_SIZE >= there);
	CHECK((used - left) / PAGE_SIZE <= there + 50 * 10);
	/* no minimum any more, then a higher one */
	for (i = 0; i < 50; i++)
		tme_client_set_min(&c[i], 0);
	used = tme_freeable(&host);
	CHECK(used > 500);
	CHECK(used <= left / PAGE_SIZE);
	tme_client_set_min(&c[48], 10000);
	CHECK(tme_freeable(&host) < used);
	/* the part of a client that goes is gone when it starts to */
	used = tme_freeable(&host);
	for (i = 0; i < 1000; i++)
		CHECK(!put(&c[0], 0, i, i, i, NOISE));
	CHECK(tme_freeable(&host) >= used + 1000 - 8);
	CHECK(tme_client_destroy(&c[0]) == -EAGAIN);
	CHECK(tme_freeable(&host) <= used);
	destroy_many(c, 50);
	tme_host_destroy(&host);
}

const struct test account_tests[] = {
	T(cap_is_hard),
	T(cap_counts_metadata),
	T(refused_puts_are_not_counted),
	T(pools_are_not_freeable),
	T(short_host_evicts),
	T(useless_raw_page_is_refused),
	T(slots_shrink_by_themselves),
	T(freeable_is_what_comes),
	{}
};
