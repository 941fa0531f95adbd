/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: what its tests in user space share.
 *
 * Every page says by its bytes which handle and which put it belongs to.  After
 * each test all memory must have been freed, and the engine must not have
 * warned.
 */
#ifndef TEST_H
#define TEST_H

#include <pthread.h>
#include "internal.h"
#include "pages.h"

/* One list for each test_*.c, with an empty entry at its end */
struct test {
	const char *name;
	void (*func)(void);
};

#define T(func) { #func, func }
extern const struct test store_tests[], account_tests[], evict_tests[],
			 client_tests[];

#define CHECK(cond) do {						\
	if (!(cond))							\
		fail(__func__, __LINE__, #cond);			\
} while (0)

extern int failures;		/* of the running test */
void fail(const char *func, int line, const char *what);

extern u64 rnd_state;
u64 rnd(void);

int put(struct tme_client *client, u32 pool, u64 o, u32 index, u64 seed,
	enum kind kind);
/* Return: 0 if the page was there and right */
int get(struct tme_client *client, u32 pool, u64 o, u32 index, u64 seed,
	enum kind kind);
int flush(struct tme_client *client, u32 pool, u64 o, u32 index);
int flush_object(struct tme_client *client, u32 pool, u64 o);

struct tme_stats stats(struct tme_client *client);
u64 eph_bytes(struct tme_client *client);	/* of ephemeral memory */
unsigned long host_frames(void);		/* all that the host counts */

void destroy_pool(struct tme_client *client, u32 pool);
void destroy(struct tme_client *client);

/* A host, and two clients with pools 0 (ephemeral) and 1 (persistent) */
extern struct tme_host host;
extern struct tme_client A, B;
void setup(void);
void teardown(void);
struct tme_client *many_clients(int nr);
void destroy_many(struct tme_client *c, int nr);

/* For port_stop */
extern int stops;
bool stop_always(void);

#endif /* TEST_H */
