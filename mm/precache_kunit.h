/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit tests of precache share; see mm/precache_kunit.c.
 */
#ifndef _MM_PRECACHE_KUNIT_H
#define _MM_PRECACHE_KUNIT_H

#include <kunit/test.h>
#include <linux/types.h>
#include "tmem_kunit.h"

struct address_space;
struct folio;
struct inode;
struct super_block;
struct vfsmount;

struct precache_mount {
	struct vfsmount *mnt;
	struct super_block *sb;
	struct inode *inode;
	struct address_space *mapping;
	int pool;		/* -1: it did not get one */
};

/* What stops a put; if it is about the file, it stops a get as well */
struct precache_obstacle {
	const char *what;
	void (*raise)(struct inode *inode, struct folio *folio);
	unsigned int order;
	bool file;
	bool impossible;	/* in this configuration */
};

/* A flush that fails: of pages 1 to @end, by this operation */
struct precache_flush {
	const char *what;
	enum fake_op op;
	pgoff_t end;
};

void precache_mount(struct kunit *test, struct precache_mount *fs,
		    unsigned long blocksize);
void precache_unmount(struct precache_mount *fs);
struct precache_mount *precache_fs(struct kunit *test);
struct precache_mount *precache_second_fs(struct kunit *test,
					  unsigned long blocksize);
struct folio *precache_folio(struct kunit *test, struct address_space *mapping,
			     pgoff_t index, unsigned int order, u8 byte);
struct folio *precache_clean_folio(struct kunit *test,
				   struct address_space *mapping,
				   pgoff_t index, unsigned int order, u8 byte);
void precache_reclaim(struct kunit *test, struct precache_mount *fs,
		      pgoff_t index, u8 byte);
bool precache_gets(struct kunit *test, struct precache_mount *fs,
		   pgoff_t index, u8 byte);
void precache_expect_call(struct kunit *test, unsigned int nr,
			  enum fake_op op, struct precache_mount *fs,
			  u32 index);
struct precache_mount precache_file(struct kunit *test, unsigned long ino);
void precache_is_not_there(struct kunit *test, struct precache_mount *fs);

/* mm/precache_put_kunit.c */
void precache_vmstat_names(struct kunit *test);
void precache_put_and_exclusive_get(struct kunit *test);
void precache_large_folio_is_put_by_pages(struct kunit *test);
void precache_failed_put_is_counted_and_leaves_nothing(struct kunit *test);
void precache_refused_put_leaves_no_mark(struct kunit *test);
void precache_backend_that_refuses_is_left_in_peace(struct kunit *test);
void precache_page_not_put_after_refusals_is_flushed(struct kunit *test);
void precache_obstacle_flushes_instead_of_put(struct kunit *test);
void precache_file_obstacle_refuses_get(struct kunit *test);
void precache_eviction_for_another_reason_flushes(struct kunit *test);
void precache_busy_folio_stays_and_costs_no_call(struct kunit *test);
void precache_index_beyond_32_bits_is_refused(struct kunit *test);
void precache_short_copy_is_forgotten(struct kunit *test);
void precache_sysfs_gates_puts_only(struct kunit *test);
void precache_switched_off_and_dropped_costs_nothing(struct kunit *test);

/* mm/precache_flush_kunit.c */
void precache_gate_refuses_get(struct kunit *test);
void precache_evicted_inode_raises_no_gate(struct kunit *test);
void precache_scan_from_before_is_repeated(struct kunit *test);
void precache_range_is_flushed_exactly(struct kunit *test);
void precache_folio_is_flushed_whole(struct kunit *test);
void precache_long_range_flushes_object(struct kunit *test);
void precache_file_flushed_whole_costs_no_call(struct kunit *test);
void precache_put_during_flush_is_known_of(struct kunit *test);
void precache_flush_without_gate_forgets_nothing(struct kunit *test);
void precache_range_edges(struct kunit *test);
void precache_file_never_put_costs_no_call(struct kunit *test);
void precache_swap_cache_costs_no_call(struct kunit *test);
void precache_invalidation_of_nothing_cached_flushes(struct kunit *test);
void precache_invalidation_flushes_what_it_removes(struct kunit *test);

/* mm/precache_file_kunit.c */
void precache_drop_takes_all_pages(struct kunit *test);
void precache_drop_takes_pages_of_absent_files(struct kunit *test);
void precache_put_during_drop_is_out_of_reach(struct kunit *test);
void precache_failed_flush_kills_the_cache(struct kunit *test);
void precache_failed_put_kills_the_cache(struct kunit *test);
void precache_failed_file_system_kills_the_cache(struct kunit *test);
void precache_file_systems_do_not_meet(struct kunit *test);
void precache_files_do_not_meet(struct kunit *test);
void precache_file_that_comes_back_finds_its_pages(struct kunit *test);
void precache_file_that_comes_back_keeps_the_others(struct kunit *test);
void precache_file_that_comes_back_is_flushed_once(struct kunit *test);
void precache_file_that_comes_back_soon_flushes_all(struct kunit *test);
void precache_deleted_file_leaves_nothing(struct kunit *test);
void precache_file_obstacle_leaves_nothing(struct kunit *test);
void precache_cached_file_leaves_nothing(struct kunit *test);
void precache_unmount_flushes_no_file(struct kunit *test);
void precache_unmount_destroys_the_pool_last(struct kunit *test);
void precache_other_block_size_is_refused(struct kunit *test);
void precache_without_a_pool_left_mounts_without(struct kunit *test);
void precache_drop_asks_again_for_a_pool(struct kunit *test);
void precache_pool_of_another_is_used(struct kunit *test);

#endif /* _MM_PRECACHE_KUNIT_H */
