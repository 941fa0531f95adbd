// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of precache, with the fake backend of mm/tmem_kunit.c.  Here are
 * their list and what they share; they are in files by topic:
 *
 *	mm/precache_put_kunit.c		pages that are put and got, or not
 *	mm/precache_flush_kunit.c	flushes of pages, ranges and files
 *	mm/precache_file_kunit.c	files and file systems that come and go
 *
 * Each test has a ramfs of its own that has opted in, and a file there.  Its
 * folios are not inserted into the page cache: precache does not look there.
 */

#include <kunit/test.h>
#include <linux/dax.h>
#include <linux/err.h>
#include <linux/errseq.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/precache.h>
#include <linux/ramfs.h>
#include <linux/string.h>
#include "precache_kunit.h"
#include "tmem_kunit.h"

/* [0] is there in each test; a test may mount [1] */
struct precache_test {
	struct precache_mount fs[2];
};

void precache_mount(struct kunit *test, struct precache_mount *fs,
		    unsigned long blocksize)
{
	struct file_system_type *type = get_fs_type("ramfs");

	KUNIT_ASSERT_NOT_NULL(test, type);
	fs->mnt = kern_mount(type);
	put_filesystem(type);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fs->mnt));
	fs->sb = fs->mnt->mnt_sb;
	fs->sb->s_blocksize = blocksize;
	fake_forget_calls();
	precache_init_fs(fs->sb);
	fs->pool = fake_calls(FAKE_NEW_POOL) ? fake_last_call()->ret : -1;
	fs->inode = ramfs_get_inode(fs->sb, NULL, S_IFREG | 0600, 0);
	KUNIT_ASSERT_NOT_NULL(test, fs->inode);
	fs->mapping = fs->inode->i_mapping;
	fake_forget_calls();
}

void precache_unmount(struct precache_mount *fs)
{
	iput(fs->inode);
	if (!IS_ERR_OR_NULL(fs->mnt))
		kern_unmount(fs->mnt);
	memset(fs, 0, sizeof(*fs));
}

static int precache_test_init(struct kunit *test)
{
	struct precache_test *t;

	fake_reset();
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	precache_mount(test, &t->fs[0], PAGE_SIZE);
	KUNIT_ASSERT_GE(test, t->fs[0].pool, 0);
	return 0;
}

static void precache_test_exit(struct kunit *test)
{
	struct precache_test *t = test->priv;

	if (!t)
		return;
	precache_unmount(&t->fs[1]);
	precache_unmount(&t->fs[0]);
}

struct precache_mount *precache_fs(struct kunit *test)
{
	struct precache_test *t = test->priv;

	return &t->fs[0];
}

struct precache_mount *precache_second_fs(struct kunit *test,
					  unsigned long blocksize)
{
	struct precache_test *t = test->priv;

	precache_mount(test, &t->fs[1], blocksize);
	return &t->fs[1];
}

static void precache_folio_leave(void *data)
{
	struct folio *folio = data;

	folio_clear_dirty(folio);
	folio_test_clear_writeback(folio);
	folio_clear_private(folio);
	folio_clear_hwpoison(folio);
	if (folio_test_large(folio))
		folio_test_clear_has_hwpoisoned(folio);
	folio->mapping = NULL;
	folio_set_count(folio, 1);
}

/* A locked folio, as if the page cache had it; it has not been read yet */
struct folio *precache_folio(struct kunit *test, struct address_space *mapping,
			     pgoff_t index, unsigned int order, u8 byte)
{
	struct folio *folio = fake_folio(test, order, byte);

	folio->mapping = mapping;
	folio->index = index;
	/* The page cache's references; reclaim's is there already */
	folio_ref_add(folio, folio_nr_pages(folio));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, precache_folio_leave,
						  folio));
	return folio;
}

/* The same, and it has been read: reclaim may put it */
struct folio *precache_clean_folio(struct kunit *test,
				   struct address_space *mapping,
				   pgoff_t index, unsigned int order, u8 byte)
{
	struct folio *folio;

	folio = precache_folio(test, mapping, index, order, byte);
	folio_mark_uptodate(folio);
	return folio;
}

/* Reclaim evicts a clean folio of the file */
void precache_reclaim(struct kunit *test, struct precache_mount *fs,
		      pgoff_t index, u8 byte)
{
	precache_evict(fs->mapping,
		       precache_clean_folio(test, fs->mapping, index, 0, byte),
		       true);
}

/* Does precache have this page?  Then each byte of it must be @byte */
bool precache_gets(struct kunit *test, struct precache_mount *fs,
		   pgoff_t index, u8 byte)
{
	struct folio *folio = precache_folio(test, fs->mapping, index, 0, 0);

	if (!precache_get(folio, 0, false))
		return false;
	KUNIT_EXPECT_TRUE(test, fake_folio_has(folio, byte));
	return true;
}

void precache_expect_call(struct kunit *test, unsigned int nr,
			  enum fake_op op, struct precache_mount *fs,
			  u32 index)
{
	const struct fake_call *call = fake_call(nr);

	KUNIT_EXPECT_LT(test, nr, fake_all_calls());
	KUNIT_EXPECT_EQ(test, op, call->op);
	KUNIT_EXPECT_EQ(test, fs->pool, call->pool);
	if (op == FAKE_DESTROY_POOL)
		return;
	KUNIT_EXPECT_EQ(test, fs->inode->i_ino, call->oid.oid[0]);
	KUNIT_EXPECT_EQ(test, index, call->index);
}

/* Another file, or one with this number that comes back */
struct precache_mount precache_file(struct kunit *test, unsigned long ino)
{
	struct precache_mount file = *precache_fs(test);

	file.inode = ramfs_get_inode(file.sb, NULL, S_IFREG | 0600, 0);
	KUNIT_ASSERT_NOT_NULL(test, file.inode);
	file.mapping = file.inode->i_mapping;
	if (ino)
		file.inode->i_ino = ino;
	return file;
}

void precache_is_not_there(struct kunit *test, struct precache_mount *fs)
{
	KUNIT_EXPECT_EQ(test, -1, fs->pool);
	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	precache_drop_fs(fs->sb);
	precache_unmount(fs);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

static void raise_dirty(struct inode *inode, struct folio *folio)
{
	folio_set_dirty(folio);
}

static void raise_writeback(struct inode *inode, struct folio *folio)
{
	folio_test_set_writeback(folio);
}

static void raise_not_uptodate(struct inode *inode, struct folio *folio)
{
	folio_clear_uptodate(folio);
}

static void raise_private(struct inode *inode, struct folio *folio)
{
	folio_set_private(folio);
}

static void raise_hwpoison(struct inode *inode, struct folio *folio)
{
	folio_set_hwpoison(folio);
}

static void raise_has_hwpoisoned(struct inode *inode, struct folio *folio)
{
	folio_test_set_has_hwpoisoned(folio);
}

static void raise_encrypted(struct inode *inode, struct folio *folio)
{
	inode->i_flags |= S_ENCRYPTED;
}

static void raise_verity(struct inode *inode, struct folio *folio)
{
	inode->i_flags |= S_VERITY;
}

static void raise_swapfile(struct inode *inode, struct folio *folio)
{
	inode->i_flags |= S_SWAPFILE;
}

static void raise_quota(struct inode *inode, struct folio *folio)
{
	inode->i_flags |= S_NOQUOTA;
}

static void raise_dax(struct inode *inode, struct folio *folio)
{
	inode->i_flags |= S_DAX;
}

static void raise_large_folios(struct inode *inode, struct folio *folio)
{
	mapping_set_large_folios(inode->i_mapping);
}

static void raise_excluded(struct inode *inode, struct folio *folio)
{
	precache_exclude(inode->i_mapping);
}

static void raise_wb_err(struct inode *inode, struct folio *folio)
{
	errseq_set(&inode->i_mapping->wb_err, -EIO);
}

static void raise_not_regular(struct inode *inode, struct folio *folio)
{
	inode->i_mode = S_IFDIR | 0700;
}

static void raise_not_read(struct inode *inode, struct folio *folio)
{
	inode->i_mapping->a_ops = &empty_aops;
}

static void raise_exiting(struct inode *inode, struct folio *folio)
{
	mapping_set_exiting(inode->i_mapping);
}

static const struct precache_obstacle precache_obstacles[] = {
	{ "dirty", raise_dirty },
	{ "writeback", raise_writeback },
	{ "not uptodate", raise_not_uptodate },
	{ "private", raise_private },
	{ "hwpoison", raise_hwpoison,
	  .impossible = !IS_ENABLED(CONFIG_MEMORY_FAILURE) },
	{ "hwpoison inside", raise_has_hwpoisoned, .order = 2,
	  .impossible = !IS_ENABLED(CONFIG_MEMORY_FAILURE) ||
			!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) },
	{ "exiting", raise_exiting },
	{ "encrypted", raise_encrypted, .file = true },
	{ "verity", raise_verity, .file = true },
	{ "swap file", raise_swapfile, .file = true },
	{ "quota file", raise_quota, .file = true },
	{ "dax", raise_dax, .file = true, .impossible = !S_DAX },
	{ "large folios", raise_large_folios, .file = true,
	  .impossible = !IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) },
	{ "excluded", raise_excluded, .file = true },
	{ "write error", raise_wb_err, .file = true },
	{ "not regular", raise_not_regular, .file = true },
	{ "not read from a disk", raise_not_read, .file = true },
};

KUNIT_ARRAY_PARAM_DESC(precache_obstacle, precache_obstacles, what);

static const void *precache_file_obstacle_gen_params(const void *prev,
						     char *desc)
{
	const struct precache_obstacle *obstacle = prev;

	do
		obstacle = precache_obstacle_gen_params(obstacle, desc);
	while (obstacle && !obstacle->file);
	return obstacle;
}

static const struct precache_flush precache_flushes[] = {
	{ "page", FAKE_FLUSH_PAGE, 1 },
	{ "object", FAKE_FLUSH_OBJECT, ULONG_MAX },
};

KUNIT_ARRAY_PARAM_DESC(precache_flush, precache_flushes, what);

static struct kunit_case precache_cases[] = {
	KUNIT_CASE(precache_vmstat_names),
	KUNIT_CASE(precache_put_and_exclusive_get),
	KUNIT_CASE(precache_large_folio_is_put_by_pages),
	KUNIT_CASE(precache_failed_put_is_counted_and_leaves_nothing),
	KUNIT_CASE(precache_refused_put_leaves_no_mark),
	KUNIT_CASE(precache_backend_that_refuses_is_left_in_peace),
	KUNIT_CASE(precache_page_not_put_after_refusals_is_flushed),
	KUNIT_CASE_PARAM(precache_obstacle_flushes_instead_of_put,
			 precache_obstacle_gen_params),
	KUNIT_CASE_PARAM(precache_file_obstacle_refuses_get,
			 precache_file_obstacle_gen_params),
	KUNIT_CASE(precache_eviction_for_another_reason_flushes),
	KUNIT_CASE(precache_busy_folio_stays_and_costs_no_call),
	KUNIT_CASE(precache_index_beyond_32_bits_is_refused),
	KUNIT_CASE(precache_short_copy_is_forgotten),
	KUNIT_CASE(precache_sysfs_gates_puts_only),
	KUNIT_CASE(precache_switched_off_and_dropped_costs_nothing),
	KUNIT_CASE(precache_gate_refuses_get),
	KUNIT_CASE(precache_evicted_inode_raises_no_gate),
	KUNIT_CASE(precache_scan_from_before_is_repeated),
	KUNIT_CASE(precache_range_is_flushed_exactly),
	KUNIT_CASE(precache_folio_is_flushed_whole),
	KUNIT_CASE(precache_long_range_flushes_object),
	KUNIT_CASE(precache_file_flushed_whole_costs_no_call),
	KUNIT_CASE(precache_put_during_flush_is_known_of),
	KUNIT_CASE(precache_flush_without_gate_forgets_nothing),
	KUNIT_CASE(precache_range_edges),
	KUNIT_CASE(precache_file_never_put_costs_no_call),
	KUNIT_CASE(precache_swap_cache_costs_no_call),
	KUNIT_CASE(precache_invalidation_of_nothing_cached_flushes),
	KUNIT_CASE(precache_invalidation_flushes_what_it_removes),
	KUNIT_CASE(precache_drop_takes_all_pages),
	KUNIT_CASE(precache_drop_takes_pages_of_absent_files),
	KUNIT_CASE(precache_put_during_drop_is_out_of_reach),
	KUNIT_CASE_PARAM(precache_failed_flush_kills_the_cache,
			 precache_flush_gen_params),
	KUNIT_CASE(precache_failed_put_kills_the_cache),
	KUNIT_CASE(precache_failed_file_system_kills_the_cache),
	KUNIT_CASE(precache_file_systems_do_not_meet),
	KUNIT_CASE(precache_files_do_not_meet),
	KUNIT_CASE(precache_file_that_comes_back_finds_its_pages),
	KUNIT_CASE(precache_file_that_comes_back_keeps_the_others),
	KUNIT_CASE(precache_file_that_comes_back_is_flushed_once),
	KUNIT_CASE(precache_file_that_comes_back_soon_flushes_all),
	KUNIT_CASE(precache_deleted_file_leaves_nothing),
	KUNIT_CASE_PARAM(precache_file_obstacle_leaves_nothing,
			 precache_file_obstacle_gen_params),
	KUNIT_CASE(precache_cached_file_leaves_nothing),
	KUNIT_CASE(precache_unmount_flushes_no_file),
	KUNIT_CASE(precache_unmount_destroys_the_pool_last),
	KUNIT_CASE(precache_other_block_size_is_refused),
	KUNIT_CASE(precache_without_a_pool_left_mounts_without),
	KUNIT_CASE(precache_drop_asks_again_for_a_pool),
	KUNIT_CASE(precache_pool_of_another_is_used),
	{}
};

static struct kunit_suite precache_suite = {
	.name = "precache",
	.suite_init = fake_register,
	.init = precache_test_init,
	.exit = precache_test_exit,
	.test_cases = precache_cases,
};

kunit_test_suite(precache_suite);
