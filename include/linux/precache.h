/* SPDX-License-Identifier: GPL-2.0 */
/*
 * precache: a second-chance cache, in transcendent memory, for clean pages of
 * files that leave the page cache.  Rules and proofs are in mm/precache.c.
 *
 * The inline functions are the hooks.  Each is a patched-out branch until a
 * backend is there, and nothing at all without CONFIG_PRECACHE.
 */
#ifndef _LINUX_PRECACHE_H
#define _LINUX_PRECACHE_H

#include <linux/jump_label.h>
#include <linux/types.h>

struct address_space;
struct folio;
struct super_block;

#ifdef CONFIG_PRECACHE
DECLARE_STATIC_KEY_FALSE(precache_key);
#define precache_enabled()	static_branch_unlikely(&precache_key)

void precache_backend_ready(void);
void precache_init_fs(struct super_block *sb);
void precache_destroy_fs(struct super_block *sb);
void precache_drop_begin(struct super_block *sb);
void precache_drop_end(struct super_block *sb);
void precache_drop_fs(struct super_block *sb);
void precache_exclude(struct address_space *mapping);
void precache_forget_copy(struct address_space *mapping, struct folio *folio);
#else
#define precache_enabled()	false

static inline void precache_backend_ready(void) { }
static inline void precache_init_fs(struct super_block *sb) { }
static inline void precache_destroy_fs(struct super_block *sb) { }
static inline void precache_drop_begin(struct super_block *sb) { }
static inline void precache_drop_end(struct super_block *sb) { }
static inline void precache_drop_fs(struct super_block *sb) { }
static inline void precache_exclude(struct address_space *mapping) { }
static inline void precache_forget_copy(struct address_space *mapping,
					struct folio *folio) { }
#endif

bool __precache_mapping(struct address_space *mapping);
bool __precache_evict(struct address_space *mapping, struct folio *folio,
		      bool reclaimed);
bool __precache_get(struct folio *folio, sector_t block, bool failed);
void __precache_flush_folio(struct address_space *mapping, struct folio *folio);
void __precache_flush_range(struct address_space *mapping, pgoff_t start,
			    pgoff_t end);
atomic_t *__precache_invalidate_begin(struct address_space *mapping);
bool __precache_invalidate_end(struct address_space *mapping, atomic_t *gate,
			       pgoff_t start, pgoff_t end);

/* May precache hold pages of this file, now or later? */
static inline bool precache_mapping(struct address_space *mapping)
{
	return precache_enabled() && __precache_mapping(mapping);
}

/*
 * A folio is about to leave the page cache: put it or flush it.  True: it is
 * busy and must stay.
 */
static inline bool precache_evict(struct address_space *mapping,
				  struct folio *folio, bool reclaimed)
{
	return precache_enabled() &&
	       __precache_evict(mapping, folio, reclaimed);
}

/*
 * Fill a new folio with what @block has.  True: it is filled, spare the disk.
 * @failed: files may not be on the disk as they are in memory; never ask again.
 */
static inline bool precache_get(struct folio *folio, sector_t block,
				bool failed)
{
	return precache_enabled() && __precache_get(folio, block, failed);
}

/* What the disk holds for this folio is about to change behind the cache. */
static inline void precache_flush_folio(struct address_space *mapping,
					struct folio *folio)
{
	if (precache_enabled())
		__precache_flush_folio(mapping, folio);
}

/*
 * The same for the pages @start to @end, both included.  Needed also after
 * invalidate_inode_pages2_range(), which flushes only what it removes.
 */
static inline void precache_flush_range(struct address_space *mapping,
					pgoff_t start, pgoff_t end)
{
	if (precache_enabled())
		__precache_flush_range(mapping, start, end);
}

/* A scan that removes @start to @end from the page cache begins ... */
static inline atomic_t *precache_invalidate_begin(struct address_space *mapping)
{
	return precache_enabled() ? __precache_invalidate_begin(mapping) : NULL;
}

/* ... and has ended.  True: precache came alive in between, scan again. */
static inline bool precache_invalidate_end(struct address_space *mapping,
					   atomic_t *gate, pgoff_t start,
					   pgoff_t end)
{
	return precache_enabled() &&
	       __precache_invalidate_end(mapping, gate, start, end);
}

#endif /* _LINUX_PRECACHE_H */
