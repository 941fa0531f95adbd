/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: what the parts of its fuzzer share; see fuzz.c.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "engine.h"
#include "pages.h"

#define CLIENTS		4		/* the last one shared, with threads */
#define OBJECTS		32
#define INDEXES		256
#define HANDLES		(CLIENTS * TME_MAX_POOLS * OBJECTS * INDEXES)
#define HANDLE_BITS	19		/* 2 + 4 + 5 + 8 */

/* What the model knows of a page: its seed, 0 when there is none */
struct model_page {
	u64 seed;
	u32 next, prev;		/* the client's ephemeral pages, oldest first */
};

/**
 * enum pool_type - what the model knows of a pool
 * @NO_POOL: there is none
 * @EPHEMERAL: a get removes the page, and eviction may
 * @PERSISTENT: only a flush removes a page, or a put that fails
 * @SHARED: ephemeral, but a get leaves the page
 * @DYING: a destruction has begun, and has to be called again
 */
enum pool_type { NO_POOL, EPHEMERAL, PERSISTENT, SHARED, DYING };

struct model_client {
	struct tme_client *client;	/* NULL: there is none */
	bool fuzzy, was_fuzzy;		/* see fuzz.c */
	enum pool_type pool[TME_MAX_POOLS];
	u32 nr[TME_MAX_POOLS][OBJECTS];
	unsigned long eph, pers;
	unsigned long cap, min;
	/* what the engine's numbers are compared with */
	u64 puts, put_fails, gets, hits;
	u64 flushed, gone, replaced;
};

/* One thread's */
struct fuzz {
	struct model_page page[HANDLES + CLIENTS];	/* and heads of lists */
	struct model_client client[CLIENTS];
	struct tme_client *memory;	/* of the clients */
	bool threaded;
	bool fails;			/* allocations may fail */
	bool locked;			/* host->lock is taken, for one op */
	bool corrupt;			/* so is decompression */
	u32 seq;
	long ops;
	const u8 *data;			/* the program, to be repeated */
	size_t size;
};

/* What one operation says: which page, and how many more */
struct op {
	int code, kind, arg;
	struct model_client *c;
	u32 pool, object, index, nr;
};

extern struct tme_host host;
extern unsigned long limit;		/* of the host, in frames */
extern long shards_bytes;		/* of one pool */

void give_up(struct fuzz *f, const char *file, int line, const char *what);

#define CHECK(cond) do {						\
	if (!(cond))							\
		give_up(f, __FILE__, __LINE__, #cond);			\
} while (0)

/* The model: fuzz_model.c */
u32 index_of(u32 index);
u32 handle(struct fuzz *f, const struct model_client *c, u32 pool, u32 object,
	   u32 index);
const u64 *oid_of(u32 object);
struct model_page *list_of(struct fuzz *f, const struct model_client *c);
void model_unlist(struct fuzz *f, struct model_page *page);
void model_list(struct fuzz *f, const struct model_client *c,
		struct model_page *page);
bool has_pool(const struct model_client *c, u32 pool);
void model_add(struct fuzz *f, struct model_client *c, u32 nr, u64 seed);
void model_del(struct fuzz *f, struct model_client *c, u32 nr);
u32 model_del_object(struct fuzz *f, struct model_client *c, u32 pool,
		     u32 object);
u32 model_del_pool(struct fuzz *f, struct model_client *c, u32 pool);
void model_settle(struct fuzz *f, struct model_client *c);
long bytes_of(const struct model_client *c, int pers);
void check_memory(struct fuzz *f, const long *used, const long *chunks,
		  const struct model_client *own);
void check_client(struct fuzz *f, struct model_client *c);

/* Operations: fuzz_ops.c */
bool shared(struct fuzz *f, const struct model_client *c);
void do_put(struct fuzz *f, struct op *op);
void do_get(struct fuzz *f, struct op *op);
void do_lookup(struct fuzz *f, struct op *op);
void do_flush(struct fuzz *f, struct op *op);
void do_flush_object(struct fuzz *f, struct op *op);
void do_new_pool(struct fuzz *f, struct op *op);
void do_destroy_pool(struct fuzz *f, struct op *op);
void do_pool_state(struct fuzz *f, struct op *op);
void do_evict(struct fuzz *f, struct op *op);
void do_fault(struct fuzz *f, struct op *op);
void do_limits(struct fuzz *f, struct op *op);
void client_start(struct fuzz *f, int i);
void client_stop(struct fuzz *f, struct model_client *c);

#endif /* FUZZ_H */
