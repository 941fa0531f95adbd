// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: the pages that its tests and its fuzzer put, see pages.h.
 */
#include "pages.h"

static page_t page_noise[2];	/* a page of NOISE is a stretch of that */

void pages_init(void)
{
	unsigned int i;
	u64 x = SEED_MUL;

	for (i = 0; i < 2 * PAGE_WORDS; i++) {
		x = xorshift(x);
		page_noise[i / PAGE_WORDS].w[i % PAGE_WORDS] = x;
	}
}

void fill(page_t *page, u64 seed, int kind)
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
		/* In half of all cases the last word, or the first */
		i = (x >> 40) % (2 * PAGE_WORDS);
		page->w[i < 2 ? 0 : i < PAGE_WORDS ? i : PAGE_WORDS - 1] ^=
			1ull << (x >> 52) % 64;
	}
}

u64 page_seed(const page_t *page)
{
	return (page->w[1] - 1) * SEED_INV;
}

bool is(const page_t *page, u64 seed, int kind)
{
	page_t want;

	fill(&want, seed, kind);
	return !memcmp(page, &want, sizeof(want));
}
