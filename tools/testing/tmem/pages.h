/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: the pages that its tests and its fuzzer put.
 *
 * All of a page follows from a seed, and its second word says from which.  So a
 * page that is found can be checked wherever it comes from.
 */
#ifndef PAGES_H
#define PAGES_H

#include "port.h"

#define PAGE_WORDS	(PAGE_SIZE / 8)

/* How it is stored: fill word, lz4, raw */
enum kind { SAME, TEXT, NOISE, KINDS };

/* More kinds: SAME but for one word; NOISE but for its last eighth to half */
enum { ODD = KINDS, PART, ALL_KINDS };

typedef struct {
	u64 w[PAGE_WORDS];
} page_t;

#define SEED_MUL	0x9e3779b97f4a7c15ull
#define SEED_INV	0xf1de83e19937733dull	/* SEED_MUL * SEED_INV == 1 */

static inline u64 xorshift(u64 x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

void pages_init(void);	/* before the first page and the first thread */
void fill(page_t *page, u64 seed, int kind);
u64 page_seed(const page_t *page);
bool is(const page_t *page, u64 seed, int kind);	/* is it that page? */

#endif /* PAGES_H */
