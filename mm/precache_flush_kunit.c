// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of precache: flushes of pages, ranges and files.
 */

#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/precache.h>
#include "precache_kunit.h"
#include "tmem_kunit.h"

void precache_gate_refuses_get(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	atomic_t *gate, *second;

	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, fs, 2, 2);
	fake_forget_calls();

	gate = precache_invalidate_begin(fs->mapping);
	KUNIT_ASSERT_NOT_NULL(test, gate);
	second = precache_invalidate_begin(fs->mapping);
	KUNIT_EXPECT_PTR_EQ(test, gate, second);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	KUNIT_EXPECT_FALSE(test, precache_invalidate_end(fs->mapping, gate,
							 2, 2));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, 2);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());

	KUNIT_EXPECT_FALSE(test, precache_invalidate_end(fs->mapping, second,
							 2, 2));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 2, 2));
}

void precache_evicted_inode_raises_no_gate(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	atomic_t *gate = precache_invalidate_begin(fs->mapping), *none;

	KUNIT_EXPECT_EQ(test, 1, atomic_read(gate));
	mapping_set_exiting(fs->mapping);
	none = precache_invalidate_begin(fs->mapping);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(gate));
	KUNIT_EXPECT_FALSE(test, precache_invalidate_end(fs->mapping, none,
							 0, ULONG_MAX));
	clear_bit(AS_EXITING, &fs->mapping->flags);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(gate));
	precache_invalidate_end(fs->mapping, gate, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(gate));
}

void precache_scan_from_before_is_repeated(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_TRUE(test, precache_invalidate_end(fs->mapping, NULL,
							1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_range_is_flushed_exactly(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	pgoff_t i;

	for (i = 10; i <= 14; i++)
		precache_reclaim(test, fs, i, i);
	fake_forget_calls();
	precache_flush_range(fs->mapping, 11, 13);
	KUNIT_EXPECT_EQ(test, 3, fake_all_calls());
	for (i = 0; i < 3; i++)
		precache_expect_call(test, i, FAKE_FLUSH_PAGE, fs, 11 + i);
	KUNIT_EXPECT_EQ(test, 3, fake_event(PRECACHE_FLUSH));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 10, 10));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 14, 14));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_folio_is_flushed_whole(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	folio = precache_clean_folio(test, fs->mapping, 4, 2, 1);
	precache_evict(fs->mapping, folio, true);
	precache_reclaim(test, fs, 3, 3);
	precache_reclaim(test, fs, 8, 8);
	precache_flush_folio(fs->mapping, folio);
	KUNIT_EXPECT_EQ(test, 4, fake_calls(FAKE_FLUSH_PAGE));
	KUNIT_EXPECT_EQ(test, 2, fake_pages());
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 3, 3));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 8, 8));
}

void precache_long_range_flushes_object(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 7, 7);
	precache_reclaim(test, fs, 1000, 8);
	fake_forget_calls();

	precache_flush_range(fs->mapping, 10, 265);
	KUNIT_EXPECT_EQ(test, 256, fake_calls(FAKE_FLUSH_PAGE));
	KUNIT_EXPECT_EQ(test, 256, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, 10);
	precache_expect_call(test, 255, FAKE_FLUSH_PAGE, fs, 265);
	KUNIT_EXPECT_EQ(test, 2, fake_pages());
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_FLUSH_INODE));

	fake_forget_calls();
	precache_flush_range(fs->mapping, 10, 266);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_OBJECT, fs, 0);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_FLUSH_INODE));
	KUNIT_EXPECT_EQ(test, 256, fake_event(PRECACHE_FLUSH));
}

static void precache_invalidate(struct precache_mount *fs, pgoff_t start,
				pgoff_t end)
{
	atomic_t *gate = precache_invalidate_begin(fs->mapping);

	precache_invalidate_end(fs->mapping, gate, start, end);
}

/* After that flush there is nothing of the file, until the next put */
void precache_file_flushed_whole_costs_no_call(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	precache_invalidate(fs, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	fake_forget_calls();
	precache_invalidate(fs, 0, ULONG_MAX);
	precache_invalidate(fs, 1, 1);
	precache_flush_range(fs->mapping, 1, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	precache_reclaim(test, fs, 1, 2);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 2));
}

static void precache_put_meanwhile(void)
{
	struct kunit *test = kunit_get_current_test();

	fake_during_flush_object = NULL;
	precache_reclaim(test, precache_fs(test), 3, 3);
}

/* The page is put after the flush and before it returns */
void precache_put_during_flush_is_known_of(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	fake_during_flush_object = precache_put_meanwhile;
	precache_invalidate(fs, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 1, fake_pages());
	precache_invalidate(fs, 3, 3);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

/* Without a gate a get could find what another flush has not dropped yet */
void precache_flush_without_gate_forgets_nothing(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	fake_forget_calls();
	precache_flush_range(fs->mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_PAGE));
}

void precache_range_edges(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, U32_MAX, 1);
	precache_reclaim(test, fs, 0, 2);
	fake_forget_calls();

	precache_flush_range(fs->mapping, 1, 0);
	precache_flush_range(fs->mapping, ULONG_MAX, 0);
	precache_flush_range(fs->mapping, (pgoff_t)U32_MAX + 1, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	precache_flush_range(fs->mapping, U32_MAX - 1, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 2, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, U32_MAX - 1);
	precache_expect_call(test, 1, FAKE_FLUSH_PAGE, fs, U32_MAX);
	KUNIT_EXPECT_EQ(test, 1, fake_pages());

	fake_forget_calls();
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_OBJECT, fs, 0);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_file_never_put_costs_no_call(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;
	atomic_t *gate;

	folio = precache_clean_folio(test, fs->mapping, 0, 0, 1);
	precache_evict(fs->mapping, folio, false);
	precache_flush_folio(fs->mapping, folio);
	precache_flush_range(fs->mapping, 0, 0);
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	gate = precache_invalidate_begin(fs->mapping);
	precache_invalidate_end(fs->mapping, gate, 0, ULONG_MAX);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 0, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_FLUSH));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_FLUSH_INODE));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_GET_MISS));
}

/* __remove_mapping() does not ask what a folio belongs to */
void precache_swap_cache_costs_no_call(struct kunit *test)
{
	static struct address_space swap_cache;
	struct folio *folio;

	folio = precache_clean_folio(test, &swap_cache, 0, 0, 1);
	KUNIT_EXPECT_FALSE(test, precache_evict(&swap_cache, folio, true));
	precache_flush_folio(&swap_cache, folio);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

/* The hooks of mm/truncate.c and mm/filemap.c, with an empty page cache */
void precache_invalidation_of_nothing_cached_flushes(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct file file = { .f_mapping = fs->mapping };
	struct kiocb iocb = { .ki_filp = &file, .ki_pos = 4 * PAGE_SIZE };
	pgoff_t i;

	for (i = 0; i < 9; i++)
		precache_reclaim(test, fs, i, i);
	fake_forget_calls();

	truncate_inode_pages_range(fs->mapping, PAGE_SIZE - 1, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 3, fake_all_calls());
	for (i = 0; i < 3; i++)
		precache_expect_call(test, i, FAKE_FLUSH_PAGE, fs, i);

	kiocb_invalidate_post_direct_write(&iocb, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 5, fake_all_calls());
	precache_expect_call(test, 3, FAKE_FLUSH_PAGE, fs, 4);
	precache_expect_call(test, 4, FAKE_FLUSH_PAGE, fs, 5);

	/* These only make room, and change nothing on the disk */
	invalidate_mapping_pages(fs->mapping, 7, 7);
	KUNIT_EXPECT_EQ(test, 0, invalidate_inode_pages2_range(fs->mapping,
							       7, 7));
	KUNIT_EXPECT_EQ(test, 5, fake_all_calls());
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 7, 7));

	/* The gates are down again */
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 3, 3));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 6, 6));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 8, 8));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

/* As before a direct write, when the disk has not changed yet */
void precache_invalidation_flushes_what_it_removes(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	precache_reclaim(test, fs, 4, 4);
	precache_reclaim(test, fs, 5, 5);
	folio = filemap_grab_folio(fs->mapping, 4);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	folio_unlock(folio);
	folio_put(folio);
	fake_forget_calls();
	KUNIT_EXPECT_EQ(test, 0, invalidate_inode_pages2_range(fs->mapping,
							       4, 5));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, 4);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 5, 5));
}
