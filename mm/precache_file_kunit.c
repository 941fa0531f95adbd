// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of precache: files and file systems that come and go.
 */

#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/precache.h>
#include <linux/workqueue.h>
#include "precache_kunit.h"
#include "tmem_kunit.h"

void precache_drop_takes_all_pages(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, fs, 2, 2);
	precache_drop_begin(fs->sb);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));

	/* Reclaim comes ahead of the scan, and then the scan itself */
	precache_reclaim(test, fs, 2, 3);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 2, 3));
	precache_evict(fs->mapping,
		       precache_clean_folio(test, fs->mapping, 3, 0, 3),
		       false);

	precache_drop_begin(fs->sb);
	precache_drop_end(fs->sb);
	precache_reclaim(test, fs, 2, 4);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	precache_drop_end(fs->sb);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_NEW_POOL));
	fs->pool = fake_last_call()->ret;
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 2, 2));
	precache_reclaim(test, fs, 2, 5);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 2, 5));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

/* The pages of an inode that is not in memory go, too, and are forgotten */
void precache_drop_takes_pages_of_absent_files(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);
	unsigned long ino = file.inode->i_ino;

	precache_reclaim(test, &file, 1, 1);
	iput(file.inode);
	precache_drop_begin(file.sb);
	precache_drop_end(file.sb);
	fake_forget_calls();
	file = precache_file(test, ino);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, &file, 1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	iput(file.inode);
}

static struct {
	struct work_struct work;
	struct completion begun;
	struct super_block *sb;
} precache_drop;

static void precache_drop_work(struct work_struct *work)
{
	complete(&precache_drop.begun);
	precache_drop_begin(precache_drop.sb);
	precache_drop_end(precache_drop.sb);
}

static void precache_drop_meanwhile(void)
{
	struct precache_mount *fs = precache_fs(kunit_get_current_test());

	INIT_WORK(&precache_drop.work, precache_drop_work);
	init_completion(&precache_drop.begun);
	precache_drop.sb = fs->sb;
	schedule_work(&precache_drop.work);
	wait_for_completion(&precache_drop.begun);
}

/* The pool must be there until the put is over */
void precache_put_during_drop_is_out_of_reach(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	fake_during_put = precache_drop_meanwhile;
	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_PUT_PAGE));
	flush_work(&precache_drop.work);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_DESTROY_POOL));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
}

void precache_failed_flush_kills_the_cache(struct kunit *test)
{
	const struct precache_flush *flush = test->param_value;
	struct precache_mount *fs = precache_fs(test), *other;

	other = precache_second_fs(test, PAGE_SIZE);
	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, fs, 2, 2);
	precache_reclaim(test, other, 2, 3);
	fake_fail(flush->op, 1, -EIO);
	precache_flush_range(fs->mapping, 1, flush->end);

	/* Pages 1 and 2 may still be there */
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 2, 2));
	precache_reclaim(test, fs, 3, 3);
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 3, 3));

	/* The other file system goes on */
	KUNIT_EXPECT_TRUE(test, precache_gets(test, other, 2, 3));
	precache_reclaim(test, other, 3, 4);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, other, 3, 4));
}

/* A put that failed, and could not drop the older copy either */
void precache_failed_put_kills_the_cache(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	fake_fail(FAKE_PUT_PAGE, 1, -EIO);
	precache_reclaim(test, fs, 2, 2);

	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_calls(FAKE_GET_PAGE));
}

void precache_failed_file_system_kills_the_cache(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio = precache_folio(test, fs->mapping, 1, 0, 0);

	precache_reclaim(test, fs, 1, 1);
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_get(folio, 0, true));
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	precache_reclaim(test, fs, 2, 2);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

void precache_file_systems_do_not_meet(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test), *other;

	other = precache_second_fs(test, PAGE_SIZE);
	other->inode->i_ino = fs->inode->i_ino;
	KUNIT_EXPECT_NE(test, fs->pool, other->pool);
	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, fs, 2, 2);
	precache_reclaim(test, other, 1, 3);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, other, 2, 2));
	precache_flush_range(other->mapping, 0, ULONG_MAX);
	precache_drop_begin(other->sb);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 1));
	precache_reclaim(test, fs, 1, 4);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 4));
	precache_drop_end(other->sb);
}

void precache_files_do_not_meet(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct precache_mount file = precache_file(test, 0);

	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, &file, 2, 2);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, &file, 1, 1));
	precache_flush_range(file.mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 1, fake_pages());
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 1));
	iput(file.inode);
}

void precache_file_that_comes_back_finds_its_pages(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);
	unsigned long ino = file.inode->i_ino;

	precache_reclaim(test, &file, 1, 1);
	precache_reclaim(test, &file, 2, 2);
	fake_forget_calls();
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	/* Twice, and nothing is put in between */
	file = precache_file(test, ino);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, &file, 1, 1));
	iput(file.inode);
	file = precache_file(test, ino);
	precache_flush_range(file.mapping, 2, 2);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	iput(file.inode);
}

/* A file whose inode has left memory and is back: pages 1, @other were put */
static struct precache_mount precache_file_back(struct kunit *test,
						pgoff_t other)
{
	struct precache_mount file = precache_file(test, 0);
	unsigned long ino = file.inode->i_ino;

	precache_reclaim(test, &file, 1, 1);
	precache_reclaim(test, &file, other, 2);
	iput(file.inode);
	file = precache_file(test, ino);
	fake_forget_calls();
	return file;
}

/* A few pages are flushed one by one, whether they are old or new */
void precache_file_that_comes_back_keeps_the_others(struct kunit *test)
{
	struct precache_mount file = precache_file_back(test, 2);

	precache_flush_range(file.mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, &file, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, &file, 1, 1));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, &file, 2, 2));
	iput(file.inode);
}

/* A flush of the whole file takes the old pages: no other is needed */
void precache_file_that_comes_back_is_flushed_once(struct kunit *test)
{
	struct precache_mount file = precache_file_back(test, 2);

	precache_flush_range(file.mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_OBJECT));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	precache_flush_range(file.mapping, 1, 1);
	precache_flush_range(file.mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, &file, 1, 1));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());

	/* Pages that are put from now on count as new ones */
	precache_reclaim(test, &file, 1, 3);
	precache_reclaim(test, &file, 2, 4);
	precache_flush_range(file.mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_PAGE));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, &file, 2, 4));
	iput(file.inode);
}

/*
 * Or else a file that is only written to, by direct I/O, would be flushed page
 * by page for ever.
 */
void precache_file_that_comes_back_soon_flushes_all(struct kunit *test)
{
	struct precache_mount file = precache_file_back(test, 100);

	precache_flush_range(file.mapping, 10, 25);
	KUNIT_EXPECT_EQ(test, 16, fake_calls(FAKE_FLUSH_PAGE));
	KUNIT_EXPECT_EQ(test, 16, fake_all_calls());
	KUNIT_EXPECT_EQ(test, 2, fake_pages());

	fake_forget_calls();
	precache_flush_range(file.mapping, 10, 26);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_OBJECT, &file, 0);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	precache_flush_range(file.mapping, 10, 26);
	precache_flush_range(file.mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());

	/* With new pages it is as for any other file */
	precache_reclaim(test, &file, 1, 3);
	fake_forget_calls();
	precache_flush_range(file.mapping, 10, 26);
	KUNIT_EXPECT_EQ(test, 17, fake_calls(FAKE_FLUSH_PAGE));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, &file, 1, 3));
	iput(file.inode);
}

/* Put a page into the page cache that tmem may have, too */
static void precache_cache_page(struct kunit *test, struct precache_mount *file,
				pgoff_t index)
{
	struct folio *folio = filemap_grab_folio(file->mapping, index);

	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	folio_unlock(folio);
	folio_put(folio);
}

/* At umount a flush for each file would be for nothing */
void precache_unmount_flushes_no_file(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct precache_mount file = precache_file(test, 0);

	precache_reclaim(test, &file, 1, 1);
	precache_cache_page(test, &file, 1);
	fake_forget_calls();
	/* As in generic_shutdown_super() */
	fs->sb->s_flags &= ~SB_ACTIVE;
	iput(file.inode);
	fs->sb->s_flags |= SB_ACTIVE;
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

void precache_deleted_file_leaves_nothing(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);

	precache_reclaim(test, &file, 1, 1);
	fake_forget_calls();
	clear_nlink(file.inode);
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_OBJECT));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_file_obstacle_leaves_nothing(struct kunit *test)
{
	const struct precache_obstacle *obstacle = test->param_value;
	struct precache_mount file;

	if (obstacle->impossible)
		kunit_skip(test, "not in this configuration");

	file = precache_file(test, 0);
	precache_reclaim(test, &file, 1, 1);
	obstacle->raise(file.inode, NULL);
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

/* An older copy may be below the page, and would be there for the next get */
void precache_cached_file_leaves_nothing(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);

	precache_reclaim(test, &file, 1, 1);
	precache_cache_page(test, &file, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_pages());
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_unmount_destroys_the_pool_last(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct precache_mount was = *fs;

	precache_reclaim(test, fs, 1, 1);
	fake_forget_calls();
	precache_unmount(fs);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_DESTROY_POOL));
	KUNIT_EXPECT_EQ(test, FAKE_DESTROY_POOL, fake_last_call()->op);
	KUNIT_EXPECT_EQ(test, was.pool, fake_last_call()->pool);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

void precache_other_block_size_is_refused(struct kunit *test)
{
	struct precache_mount *fs = precache_second_fs(test, PAGE_SIZE / 4);
	atomic_t *gate;

	KUNIT_EXPECT_TRUE(test, precache_mapping(precache_fs(test)->mapping));
	KUNIT_EXPECT_FALSE(test, precache_mapping(fs->mapping));
	gate = precache_invalidate_begin(fs->mapping);
	KUNIT_EXPECT_NULL(test, gate);
	KUNIT_EXPECT_FALSE(test, precache_invalidate_end(fs->mapping, gate,
							 0, ULONG_MAX));
	precache_is_not_there(test, fs);
}

void precache_without_a_pool_left_mounts_without(struct kunit *test)
{
	struct precache_mount *fs;

	fake_fail(FAKE_NEW_POOL, 1, -ENOSPC);
	fs = precache_second_fs(test, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, -ENOSPC, fs->pool);
	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	precache_unmount(fs);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

/* One failure is not the end: there is another attempt after each drop */
void precache_drop_asks_again_for_a_pool(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	fake_fail(FAKE_NEW_POOL, 1, -ENOSPC);
	precache_drop_fs(fs->sb);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_NEW_POOL));
	KUNIT_EXPECT_EQ(test, -ENOSPC, fake_last_call()->ret);
	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());

	precache_drop_fs(fs->sb);
	KUNIT_EXPECT_EQ(test, 2, fake_calls(FAKE_NEW_POOL));
	fs->pool = fake_last_call()->ret;
	KUNIT_EXPECT_GE(test, fs->pool, 0);
	precache_reclaim(test, fs, 1, 2);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 2));
}

void precache_pool_of_another_is_used(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test), *other;

	fake_fail(FAKE_NEW_POOL, 1, -ENOSPC);
	other = precache_second_fs(test, PAGE_SIZE);
	precache_reclaim(test, other, 1, 1);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	precache_unmount(fs);
	KUNIT_EXPECT_EQ(test, FAKE_NEW_POOL, fake_last_call()->op);
	other->pool = fake_last_call()->ret;
	KUNIT_EXPECT_GE(test, other->pool, 0);
	precache_reclaim(test, other, 1, 2);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, other, 1, 2));
}
