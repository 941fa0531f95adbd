/* SPDX-License-Identifier: GPL-2.0 */
/*
 * preswap: pages on their way to a swap device go to transcendent memory
 * instead; one bit per swap slot remembers which.  Rules and proofs are in
 * mm/preswap.c.
 *
 * The inline functions are the hooks.  Each is a patched-out branch until a
 * backend is there, and nothing at all without CONFIG_PRESWAP.
 */
#ifndef _LINUX_PRESWAP_H
#define _LINUX_PRESWAP_H

#include <linux/jump_label.h>
#include <linux/mm_types.h>

struct folio;
struct preswap_writes;
struct swap_info_struct;

/* Where pages go that come back */
enum preswap_how {
	PRESWAP_LEAVE,	/* into free memory, or to the device */
	PRESWAP_STAY,	/* into memory as long as reclaim finds any */
	PRESWAP_SPARE,	/* into free memory, and no further than that */
};

#ifdef CONFIG_PRESWAP
DECLARE_STATIC_KEY_FALSE(preswap_key);
#define preswap_enabled()	static_branch_unlikely(&preswap_key)

void preswap_backend_ready(void);
unsigned long preswap_pages(void);
int preswap_swapon(struct swap_info_struct *si);
void preswap_swapoff(struct swap_info_struct *si);
void preswap_stop(void);
void preswap_resume(void);
int preswap_drain(unsigned long timeout);
int preswap_suspend(unsigned long timeout);
int preswap_bring_back(unsigned long nr, bool write);
int preswap_write_out(unsigned long *left);
#if IS_ENABLED(CONFIG_KUNIT)
struct swap_info_struct *preswap_si(swp_entry_t entry);
void preswap_drop_zswap(swp_entry_t entry);
unsigned long preswap_next(unsigned int type, unsigned long offset);
int preswap_pull(swp_entry_t entry, enum preswap_how how,
		 struct preswap_writes *writes);
#endif
#else
#define preswap_enabled()	false

static inline void preswap_backend_ready(void) { }
static inline unsigned long preswap_pages(void) { return 0; }
static inline int preswap_swapon(struct swap_info_struct *si) { return 0; }
static inline void preswap_swapoff(struct swap_info_struct *si) { }
static inline void preswap_stop(void) { }
static inline void preswap_resume(void) { }
static inline int preswap_drain(unsigned long timeout) { return 0; }
static inline int preswap_suspend(unsigned long timeout) { return 0; }
static inline int preswap_bring_back(unsigned long nr, bool write)
{
	return 0;
}

static inline int preswap_write_out(unsigned long *left) { return -EIO; }
#endif

bool __preswap_store(struct folio *folio);
bool __preswap_load(struct folio *folio);
bool __preswap_test(swp_entry_t entry, int nr);
bool __preswap_skip_readahead(swp_entry_t entry);
void __preswap_invalidate(swp_entry_t entry, int nr);

/* Swap a folio out to tmem.  False: it must go elsewhere, tmem holds none. */
static inline bool preswap_store(struct folio *folio)
{
	return preswap_enabled() && __preswap_store(folio);
}

/*
 * Swap a folio in.  False: it is not in tmem, look elsewhere.  True: do not;
 * it has been read, or, when it is still not uptodate, it is lost.
 */
static inline bool preswap_load(struct folio *folio)
{
	return preswap_enabled() && __preswap_load(folio);
}

/* Is any of @nr slots in tmem? */
static inline bool preswap_test(swp_entry_t entry, int nr)
{
	return preswap_enabled() && __preswap_test(entry, nr);
}

/* The same for one slot of a device that may be in the middle of swapoff. */
static inline bool preswap_skip_readahead(swp_entry_t entry)
{
	return preswap_enabled() && __preswap_skip_readahead(entry);
}

/* What @nr slots held is not needed any more. */
static inline void preswap_invalidate(swp_entry_t entry, int nr)
{
	if (preswap_enabled())
		__preswap_invalidate(entry, nr);
}

#endif /* _LINUX_PRESWAP_H */
