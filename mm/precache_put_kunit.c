// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of precache: pages that are put and got, or must not be.
 */

#include <kunit/test.h>
#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/precache.h>
#include <linux/vmstat.h>
#include "precache_kunit.h"
#include "tmem_kunit.h"

void precache_vmstat_names(struct kunit *test)
{
	static const char *const names[] = {
		PRECACHE_EVENTS(TMEM_EVENT_NAME)
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		KUNIT_EXPECT_STREQ(test, names[i],
				   vm_event_name(PRECACHE_PUT + i));
}

void precache_put_and_exclusive_get(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	folio = precache_clean_folio(test, fs->mapping, 5, 0, 0xa5);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_PUT_PAGE, fs, 5);
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_PUT));

	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 5, 0xa5));
	KUNIT_EXPECT_EQ(test, 2, fake_all_calls());
	precache_expect_call(test, 1, FAKE_GET_PAGE, fs, 5);
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_GET));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_GET_MISS));

	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 5, 0));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_GET));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_GET_MISS));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_PUT));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_PUT_FAIL));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_FLUSH));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRECACHE_FLUSH_INODE));
}

void precache_large_folio_is_put_by_pages(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;
	int i;

	folio = precache_clean_folio(test, fs->mapping, 8, 2, 0x10);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, 4, fake_all_calls());
	for (i = 0; i < 4; i++) {
		precache_expect_call(test, i, FAKE_PUT_PAGE, fs, 8 + i);
		KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 8 + i,
						      0x10 + i));
	}

	/* Nor is a large folio filled */
	precache_reclaim(test, fs, 8, 0x10);
	fake_forget_calls();
	folio = precache_folio(test, fs->mapping, 8, 2, 0);
	KUNIT_EXPECT_FALSE(test, precache_get(folio, 0, false));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

void
precache_failed_put_is_counted_and_leaves_nothing(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	precache_reclaim(test, fs, 9, 0x01);
	fake_fail(FAKE_PUT_PAGE, 2, -ENOMEM);
	folio = precache_clean_folio(test, fs->mapping, 8, 2, 0x10);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, 4, fake_event(PRECACHE_PUT));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_PUT_FAIL));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 8, 0x10));
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 9, 0));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 10, 0x12));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 11, 0x13));
}

/* After a refused put nothing has to be asked for or flushed */
void precache_refused_put_leaves_no_mark(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	fake_fail(FAKE_PUT_PAGE, 1, -ENOMEM);
	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_PUT_FAIL));
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	precache_reclaim(test, fs, 1, 2);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 2));
}

void precache_backend_that_refuses_is_left_in_peace(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	unsigned int puts;
	pgoff_t i;

	fake_fail(FAKE_PUT_PAGE, 0, -ENOMEM);
	for (i = 0; i < 256 + 3 * 64; i++)
		precache_reclaim(test, fs, i, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 0, 1));
	KUNIT_EXPECT_EQ(test, 256 + 3, fake_calls(FAKE_PUT_PAGE));
	KUNIT_EXPECT_EQ(test, 256 + 3, fake_all_calls());
	KUNIT_EXPECT_EQ(test, 256 + 3, fake_event(PRECACHE_PUT_FAIL));

	/* Once it takes a page again, it is offered all pages */
	fake_fail(FAKE_PUT_PAGE, 0, 0);
	for (i = 0; i < 64 && !fake_event(PRECACHE_PUT); i++)
		precache_reclaim(test, fs, i, 2);
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_PUT));
	puts = fake_calls(FAKE_PUT_PAGE);
	for (i = 0; i < 9; i++) {
		precache_reclaim(test, fs, i, 3);
		KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, i, 3));
	}
	/* A single refusal now is only the first of a new row */
	fake_fail(FAKE_PUT_PAGE, 1, -ENOMEM);
	precache_reclaim(test, fs, 0, 4);
	precache_reclaim(test, fs, 0, 5);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 0, 5));
	KUNIT_EXPECT_EQ(test, puts + 11, fake_calls(FAKE_PUT_PAGE));
}

/* A page that is not put after refusals has to be flushed like any other */
void precache_page_not_put_after_refusals_is_flushed(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	pgoff_t i;

	precache_reclaim(test, fs, 5, 1);
	fake_fail(FAKE_PUT_PAGE, 0, -ENOMEM);
	for (i = 0; i < 257; i++)
		precache_reclaim(test, fs, 6, 2);
	fake_forget_calls();
	precache_reclaim(test, fs, 5, 3);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, 5);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_obstacle_flushes_instead_of_put(struct kunit *test)
{
	const struct precache_obstacle *obstacle = test->param_value;
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;
	int i, nr = 1 << obstacle->order;

	if (obstacle->impossible)
		kunit_skip(test, "not in this configuration");

	folio = precache_clean_folio(test, fs->mapping, 4, obstacle->order, 1);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, nr, fake_calls(FAKE_PUT_PAGE));
	KUNIT_EXPECT_EQ(test, nr, fake_pages());
	fake_forget_calls();

	folio = precache_clean_folio(test, fs->mapping, 4, obstacle->order, 2);
	obstacle->raise(fs->inode, folio);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, nr, fake_all_calls());
	for (i = 0; i < nr; i++)
		precache_expect_call(test, i, FAKE_FLUSH_PAGE, fs, 4 + i);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	KUNIT_EXPECT_EQ(test, nr, fake_event(PRECACHE_FLUSH));
}

void precache_file_obstacle_refuses_get(struct kunit *test)
{
	const struct precache_obstacle *obstacle = test->param_value;
	struct precache_mount *fs = precache_fs(test);

	if (obstacle->impossible)
		kunit_skip(test, "not in this configuration");

	precache_reclaim(test, fs, 4, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_pages());
	obstacle->raise(fs->inode, NULL);
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 4, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

/* The folio stays in the page cache, so an older copy below does no harm */
void precache_busy_folio_stays_and_costs_no_call(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;
	unsigned int order;

	for (order = 0; order <= 2; order += 2) {
		folio = precache_clean_folio(test, fs->mapping, 4, order, 1);
		KUNIT_EXPECT_FALSE(test, precache_evict(fs->mapping, folio,
							true));
		fake_forget_calls();

		folio = precache_clean_folio(test, fs->mapping, 4, order, 2);
		folio_get(folio);
		KUNIT_EXPECT_TRUE(test, precache_evict(fs->mapping, folio,
						       true));
		KUNIT_EXPECT_TRUE(test, precache_evict(fs->mapping, folio,
						       false));
		KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	}
}

void precache_eviction_for_another_reason_flushes(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	precache_reclaim(test, fs, 4, 1);
	folio = precache_clean_folio(test, fs->mapping, 4, 0, 2);
	precache_evict(fs->mapping, folio, false);
	KUNIT_EXPECT_EQ(test, 2, fake_all_calls());
	precache_expect_call(test, 1, FAKE_FLUSH_PAGE, fs, 4);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_index_beyond_32_bits_is_refused(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	precache_reclaim(test, fs, U32_MAX, 1);
	precache_expect_call(test, 0, FAKE_PUT_PAGE, fs, U32_MAX);
	precache_reclaim(test, fs, 0, 2);
	fake_forget_calls();

	/* The index must be taken neither for 0 nor for the last one */
	precache_reclaim(test, fs, (pgoff_t)U32_MAX + 1, 3);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs,
					       (pgoff_t)U32_MAX + 1, 3));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	/* The part of a folio that is not beyond has to be flushed */
	folio = precache_clean_folio(test, fs->mapping, U32_MAX, 1, 4);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, U32_MAX);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 0, 2));
}

/* But not if its block is yet to be written, or is being written */
void precache_short_copy_is_forgotten(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct address_space *mapping = fs->mapping;
	struct buffer_head bh = { };
	struct folio *folio;

	folio = precache_folio(test, mapping, 5, 0, 0);
	precache_forget_copy(mapping, folio);	/* it has no buffers */
	folio_attach_private(folio, &bh);

	set_buffer_uptodate(&bh);
	set_buffer_dirty(&bh);
	precache_forget_copy(mapping, folio);
	KUNIT_EXPECT_TRUE(test, buffer_uptodate(&bh));

	clear_buffer_dirty(&bh);
	precache_forget_copy(mapping, folio);
	KUNIT_EXPECT_FALSE(test, buffer_uptodate(&bh));
	KUNIT_EXPECT_FALSE(test, test_bit(AS_NO_PRECACHE, &mapping->flags));

	set_buffer_uptodate(&bh);
	folio_test_set_writeback(folio);
	precache_forget_copy(mapping, folio);
	KUNIT_EXPECT_TRUE(test, buffer_uptodate(&bh));
	KUNIT_EXPECT_TRUE(test, test_bit(AS_NO_PRECACHE, &mapping->flags));

	folio_test_clear_writeback(folio);
	folio_detach_private(folio);
}

void precache_sysfs_gates_puts_only(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_EXPECT_EQ(test, -EINVAL, fake_sysfs_write("precache", "x"));
	fake_sysfs_read("precache", buf);
	KUNIT_EXPECT_STREQ(test, "1\n", buf);

	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, fs, 2, 2);
	fake_forget_calls();
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("precache", "0"));
	fake_sysfs_read("precache", buf);
	precache_reclaim(test, fs, 1, 3);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, 1);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 2, 2));
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("precache", "1"));
	KUNIT_EXPECT_STREQ(test, "0\n", buf);

	precache_reclaim(test, fs, 1, 4);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 4));
}

/* Once its pages are dropped, nothing has to be asked for or flushed */
void precache_switched_off_and_dropped_costs_nothing(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test), *other;

	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("precache", "0"));
	precache_drop_fs(fs->sb);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	fake_forget_calls();
	precache_reclaim(test, fs, 1, 2);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 2));
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	/* A file system that is mounted now goes on without precache */
	other = precache_second_fs(test, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("precache", "1"));
	precache_reclaim(test, fs, 1, 3);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 3));
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_NEW_POOL));
	fake_forget_calls();
	precache_is_not_there(test, other);
}
