/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs here share, beside ../check.h */
#ifndef TMEM_TORTURE_SCRAMBLE_H
#define TMEM_TORTURE_SCRAMBLE_H

#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* Make words that do not compress, and find what they were */

static inline uint64_t scramble(uint64_t x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

static inline uint64_t unscramble(uint64_t x)
{
	x = (x ^ x >> 33) * 0x9cb4b2f8129337dbULL;
	x = (x ^ x >> 33) * 0x4f74430c22a54005ULL;
	return x ^ x >> 33;
}

#endif /* TMEM_TORTURE_SCRAMBLE_H */
