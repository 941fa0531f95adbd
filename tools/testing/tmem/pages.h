/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: the pages that its tests and its fuzzer put.
 *
 * All of a page follows from a seed, and its second word says from which: a page
 * that is found can be checked wherever it comes from.
 */
#ifndef PAGES_H
#define PAGES_H

#include "port.h"

#define PAGE_WORDS	(PAGE_SIZE / 8)

/* How it is stored: fill word, lz4, raw */
enum kind { SAME, TEXT, NOISE, KINDS };

/* More kinds: almost SAME, by one word; almost NOISE, by the last half to eighth */
enum { ODD = KINDS, PART, ALL_KINDS };

typedef struct {
	u64 w[PAGE_WORDS];
} page_t;

#define SEED_MUL	0x9e3779b97f4a7c15ull
#define SEED_INV	0xf1de83e19937733dull	/* SEED_MUL * SEED_INV == 1 */

static page_t page_noise[2];	/* a page is a stretch of that */

static inline u64 xorshift(u64 x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

/* Before the first page, and before there are threads */
static inline void pages_init(void)
{
	unsigned int i;
	u64 x = SEED_MUL;

	for (i = 0; i < 2 * PAGE_WORDS; i++) {
		x = xorshift(x);
		page_noise[i / PAGE_WORDS].w[i % PAGE_WORDS] = x;
	}
}

static inline void fill(page_t *page, u64 seed, int kind)
{
	u64 x = seed * SEED_MUL + 1, y = x;
	unsigned int i, n = 0;

	if (kind == NOISE)
		n = PAGE_WORDS;
	else if (kind == PART)
		n = PAGE_WORDS / 2 + (x >> 40) % (PAGE_WORDS / 8 * 3);
	memcpy(page, (u64 *)page_noise + (x >> 50) % PAGE_WORDS,
	       n * sizeof(x));
	for (i = n; i < PAGE_WORDS; i++) {
		if (kind == TEXT && i && i % 64 == 0)
			y = xorshift(y);
		page->w[i] = y;
	}
	page->w[1] = x;
	if (kind == ODD) {
		/* Often the first or the last word */
		i = (x >> 40) % (2 * PAGE_WORDS);
		page->w[i < 2 ? 0 : i < PAGE_WORDS ? i : PAGE_WORDS - 1] ^=
			1ull << (x >> 52) % 64;
	}
}

static inline u64 page_seed(const page_t *page)
{
	return (page->w[1] - 1) * SEED_INV;
}

static inline bool is(const page_t *page, u64 seed, int kind)
{
	page_t want;

	fill(&want, seed, kind);
	return !memcmp(page, &want, sizeof(want));
}

#endif /* PAGES_H */
