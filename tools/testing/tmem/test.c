// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: its tests in user space.  TAP on standard output.
 *
 * The tests are in test_*.c; here is what they share.
 */
#include "test.h"

int failures;

void fail(const char *func, int line, const char *what)
{
	if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= 5)
		printf("# %s:%d: %s\n", func, line, what);
}

u64 rnd_state = 1;

u64 rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state * 0x2545f4914f6cdd1dull;
}

int put(struct tme_client *client, u32 pool, u64 o, u32 index, u64 seed,
	enum kind kind)
{
	u64 oid[3] = { o, o >> 32, ~o };
	page_t page;

	fill(&page, seed, kind);
	return tme_put(client, pool, oid, index, &page);
}

int get(struct tme_client *client, u32 pool, u64 o, u32 index, u64 seed,
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

int flush(struct tme_client *client, u32 pool, u64 o, u32 index)
{
	u64 oid[3] = { o, o >> 32, ~o };

	return tme_flush_page(client, pool, oid, index);
}

int flush_object(struct tme_client *client, u32 pool, u64 o)
{
	u64 oid[3] = { o, o >> 32, ~o };
	int err;

	while ((err = tme_flush_object(client, pool, oid)) == -EAGAIN)
		;
	return err;
}

struct tme_stats stats(struct tme_client *client)
{
	struct tme_stats st;

	tme_client_stats(client, &st);
	/* At quiesce, every byte is one that is known of */
	CHECK(port_meta_free || st.used_bytes == st.meta_bytes +
	      (st.raw_pages + st.slot_frames) * PAGE_SIZE);
	CHECK(st.eph_pages == client->eph_pages);
	return st;
}

void destroy_pool(struct tme_client *client, u32 pool)
{
	int err;

	while ((err = tme_destroy_pool(client, pool)) == -EAGAIN)
		;
	CHECK(!err);
}

void destroy(struct tme_client *client)
{
	int err;

	while ((err = tme_client_destroy(client)) == -EAGAIN)
		;
	CHECK(!err);
}

struct tme_host host;
struct tme_client A, B;

void setup(void)
{
	CHECK(!tme_host_init(&host));
	CHECK(!tme_client_init(&host, &A));
	CHECK(!tme_client_init(&host, &B));
	CHECK(tme_new_pool(&A, 0) == 0);
	CHECK(tme_new_pool(&A, TME_POOL_PERSISTENT) == 1);
	CHECK(tme_new_pool(&B, 0) == 0);
	CHECK(tme_new_pool(&B, TME_POOL_PERSISTENT) == 1);
}

void teardown(void)
{
	destroy(&A);
	destroy(&B);
	tme_host_destroy(&host);
}

int stops;

bool stop_always(void)
{
	stops++;
	return true;
}

u64 eph_bytes(struct tme_client *client)
{
	return stats(client).used_bytes - stats(client).pers_bytes;
}

unsigned long host_frames(void)
{
	return 8 * (atomic_long_read(&host.chunks[0]) +
		    atomic_long_read(&host.chunks[1]));
}

struct tme_client *many_clients(int nr)
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

void destroy_many(struct tme_client *c, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		destroy(&c[i]);
	free(c);
}

static int run(const struct test *test, int nr)
{
	failures = 0;
	rnd_state = 12345;
	test->func();
	CHECK(port_allocated == 0);
	CHECK(port_warnings == 0);
	printf("%s %d - %s (%s)\n", failures ? "not ok" : "ok", nr, test->name,
	       SANITIZER);
	port_allocated = 0;
	port_warnings = 0;
	return !!failures;
}

static bool is_named(const struct test *test, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], test->name); i++)
		;
	return i < argc;
}

/* test [NAME...]: all tests, or those that are named */
int main(int argc, char **argv)
{
	static const struct test * const lists[] = {
		store_tests, account_tests, evict_tests, client_tests,
	};
	const struct test *todo[128], *test;
	int i, bad = 0, nr = 0;

	for (i = 0; i < (int)(sizeof(lists) / sizeof(*lists)); i++)
		for (test = lists[i]; test->name; test++)
			if (argc == 1 || is_named(test, argc, argv))
				todo[nr++] = test;
	if (argc > 1 && nr != argc - 1) {
		printf("Bail out! no such test\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	pages_init();
	printf("TAP version 13\n1..%d\n", nr);
	for (i = 0; i < nr; i++)
		bad += run(todo[i], i + 1);
	return !!bad;
}
