// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of precache, with the fake backend of mm/tmem_kunit.c.
 *
 * Each test has a ramfs of its own that has opted in, and a file there.  Its
 * folios are not inserted into the page cache: precache does not look there.
 */

#include <kunit/test.h>
#include <kunit/test-bug.h>
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
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include "tmem_kunit.h"

struct precache_mount {
	struct vfsmount *mnt;
	struct super_block *sb;
	struct inode *inode;
	struct address_space *mapping;
	int pool;		/* -1: it did not get one */
};

/* [0] is there in each test; a test may mount [1] */
struct precache_test {
	struct precache_mount fs[2];
};

static void precache_mount(struct kunit *test, struct precache_mount *fs,
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

static void precache_unmount(struct precache_mount *fs)
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

static struct precache_mount *precache_fs(struct kunit *test)
{
	struct precache_test *t = test->priv;

	return &t->fs[0];
}

static struct precache_mount *precache_second_fs(struct kunit *test,
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
static struct folio *precache_folio(struct kunit *test,
				    struct address_space *mapping,
				    pgoff_t index, unsigned int order, u8 byte)
{
	struct folio *folio = fake_folio(test, order, byte);

	folio->mapping = mapping;
	folio->index = index;
	/* The page cache's, and the one that came with it for reclaim */
	folio_ref_add(folio, folio_nr_pages(folio));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, precache_folio_leave,
						  folio));
	return folio;
}

/* The same, and it has been read: reclaim may put it */
static struct folio *precache_clean_folio(struct kunit *test,
					  struct address_space *mapping,
					  pgoff_t index, unsigned int order,
					  u8 byte)
{
	struct folio *folio;

	folio = precache_folio(test, mapping, index, order, byte);
	folio_mark_uptodate(folio);
	return folio;
}

/* Reclaim evicts a clean folio of the file */
static void precache_reclaim(struct kunit *test, struct precache_mount *fs,
			     pgoff_t index, u8 byte)
{
	precache_evict(fs->mapping,
		       precache_clean_folio(test, fs->mapping, index, 0, byte),
		       true);
}

/* Is precache asked, and does it have this byte there? */
static bool precache_gets(struct kunit *test, struct precache_mount *fs,
			  pgoff_t index, u8 byte)
{
	struct folio *folio = precache_folio(test, fs->mapping, index, 0, 0);

	if (!precache_get(folio, 0, false))
		return false;
	KUNIT_EXPECT_TRUE(test, fake_folio_has(folio, byte));
	return true;
}

static void precache_expect_call(struct kunit *test, unsigned int nr,
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
static struct precache_mount precache_file(struct kunit *test,
					   unsigned long ino)
{
	struct precache_mount file = *precache_fs(test);

	file.inode = ramfs_get_inode(file.sb, NULL, S_IFREG | 0600, 0);
	KUNIT_ASSERT_NOT_NULL(test, file.inode);
	file.mapping = file.inode->i_mapping;
	if (ino)
		file.inode->i_ino = ino;
	return file;
}

static void precache_is_not_there(struct kunit *test, struct precache_mount *fs)
{
	KUNIT_EXPECT_EQ(test, -1, fs->pool);
	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	precache_drop_fs(fs->sb);
	precache_unmount(fs);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

static void precache_vmstat_names(struct kunit *test)
{
	static const char *const names[] = {
		PRECACHE_EVENTS(TMEM_EVENT_NAME)
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		KUNIT_EXPECT_STREQ(test, names[i],
				   vm_event_name(PRECACHE_PUT + i));
}

static void precache_put_and_exclusive_get(struct kunit *test)
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

static void precache_large_folio_is_put_by_pages(struct kunit *test)
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

static void
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

/* Then nothing has to be asked for or flushed */
static void precache_refused_put_leaves_no_mark(struct kunit *test)
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

static void precache_backend_that_refuses_is_left_in_peace(struct kunit *test)
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

	/* When it takes a page again that is noticed, and it gets all */
	fake_fail(FAKE_PUT_PAGE, 0, 0);
	for (i = 0; i < 64 && !fake_event(PRECACHE_PUT); i++)
		precache_reclaim(test, fs, i, 2);
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRECACHE_PUT));
	puts = fake_calls(FAKE_PUT_PAGE);
	for (i = 0; i < 9; i++) {
		precache_reclaim(test, fs, i, 3);
		KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, i, 3));
	}
	/* It has the same patience again */
	fake_fail(FAKE_PUT_PAGE, 1, -ENOMEM);
	precache_reclaim(test, fs, 0, 4);
	precache_reclaim(test, fs, 0, 5);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 0, 5));
	KUNIT_EXPECT_EQ(test, puts + 11, fake_calls(FAKE_PUT_PAGE));
}

/* A page that is not put because of that has to be flushed like any other */
static void precache_page_not_put_after_refusals_is_flushed(struct kunit *test)
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

/* What stops a put, and if it is about the file a get, too */
struct precache_obstacle {
	const char *what;
	void (*raise)(struct inode *inode, struct folio *folio);
	unsigned int order;
	bool file;
	bool impossible;	/* in this configuration */
};

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

static void precache_obstacle_flushes_instead_of_put(struct kunit *test)
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

static void precache_file_obstacle_refuses_get(struct kunit *test)
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

/* It stays in the page cache, and so what is below it does no harm */
static void precache_busy_folio_stays_and_costs_no_call(struct kunit *test)
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

static void precache_eviction_for_another_reason_flushes(struct kunit *test)
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

static void precache_index_beyond_32_bits_is_refused(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct folio *folio;

	precache_reclaim(test, fs, U32_MAX, 1);
	precache_expect_call(test, 0, FAKE_PUT_PAGE, fs, U32_MAX);
	precache_reclaim(test, fs, 0, 2);
	fake_forget_calls();

	/* It must be taken neither for page 0 nor for the last */
	precache_reclaim(test, fs, (pgoff_t)U32_MAX + 1, 3);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs,
					       (pgoff_t)U32_MAX + 1, 3));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	/* What is not beyond it has to be flushed */
	folio = precache_clean_folio(test, fs->mapping, U32_MAX, 1, 4);
	precache_evict(fs->mapping, folio, true);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, fs, U32_MAX);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 0, 2));
}

static void precache_sysfs_gates_puts_only(struct kunit *test)
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

/* With what is there dropped, nothing has to be asked for or flushed */
static void precache_switched_off_and_dropped_costs_nothing(struct kunit *test)
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

	/* What is mounted meanwhile goes on without */
	other = precache_second_fs(test, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("precache", "1"));
	precache_reclaim(test, fs, 1, 3);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, fs, 1, 3));
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_NEW_POOL));
	fake_forget_calls();
	precache_is_not_there(test, other);
}

static void precache_gate_refuses_get(struct kunit *test)
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

static void precache_evicted_inode_raises_no_gate(struct kunit *test)
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

static void precache_scan_from_before_is_repeated(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	KUNIT_EXPECT_TRUE(test, precache_invalidate_end(fs->mapping, NULL,
							1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

static void precache_range_is_flushed_exactly(struct kunit *test)
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

static void precache_folio_is_flushed_whole(struct kunit *test)
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

static void precache_long_range_flushes_object(struct kunit *test)
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

/* Then there is nothing of it any more, until the next put */
static void precache_file_flushed_whole_costs_no_call(struct kunit *test)
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
static void precache_put_during_flush_is_known_of(struct kunit *test)
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
static void precache_flush_without_gate_forgets_nothing(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	precache_flush_range(fs->mapping, 0, ULONG_MAX);
	fake_forget_calls();
	precache_flush_range(fs->mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_PAGE));
}

static void precache_range_edges(struct kunit *test)
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

static void precache_file_never_put_costs_no_call(struct kunit *test)
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
static void precache_swap_cache_costs_no_call(struct kunit *test)
{
	static struct address_space swap_cache;
	struct folio *folio;

	folio = precache_clean_folio(test, &swap_cache, 0, 0, 1);
	KUNIT_EXPECT_FALSE(test, precache_evict(&swap_cache, folio, true));
	precache_flush_folio(&swap_cache, folio);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

/* The hooks of mm/truncate.c and mm/filemap.c, with an empty page cache */
static void precache_invalidation_of_nothing_cached_flushes(struct kunit *test)
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
static void precache_invalidation_flushes_what_it_removes(struct kunit *test)
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

static void precache_drop_takes_all_pages(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	precache_reclaim(test, fs, 2, 2);
	precache_drop_begin(fs->sb);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));

	/* Reclaim is ahead of the scan, and then there is the scan */
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

/* What an inode that is not in memory has left goes, too, and is forgotten */
static void precache_drop_takes_pages_of_absent_files(struct kunit *test)
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
static void precache_put_during_drop_is_out_of_reach(struct kunit *test)
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

static const struct precache_flush {
	const char *what;
	enum fake_op op;
	pgoff_t end;
} precache_flushes[] = {
	{ "page", FAKE_FLUSH_PAGE, 1 },
	{ "object", FAKE_FLUSH_OBJECT, ULONG_MAX },
};

KUNIT_ARRAY_PARAM_DESC(precache_flush, precache_flushes, what);

static void precache_failed_flush_kills_the_cache(struct kunit *test)
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

	/* That was about one file system */
	KUNIT_EXPECT_TRUE(test, precache_gets(test, other, 2, 3));
	precache_reclaim(test, other, 3, 4);
	KUNIT_EXPECT_TRUE(test, precache_gets(test, other, 3, 4));
}

/* A put that failed, and could not drop the older copy either */
static void precache_failed_put_kills_the_cache(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);

	precache_reclaim(test, fs, 1, 1);
	fake_fail(FAKE_PUT_PAGE, 1, -EIO);
	precache_reclaim(test, fs, 2, 2);

	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, precache_gets(test, fs, 1, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_calls(FAKE_GET_PAGE));
}

static void precache_failed_file_system_kills_the_cache(struct kunit *test)
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

static void precache_file_systems_do_not_meet(struct kunit *test)
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

static void precache_files_do_not_meet(struct kunit *test)
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

static void precache_file_that_comes_back_finds_its_pages(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);
	unsigned long ino = file.inode->i_ino;

	precache_reclaim(test, &file, 1, 1);
	precache_reclaim(test, &file, 2, 2);
	fake_forget_calls();
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	/* Twice: it is not put in between */
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

/* A few pages are flushed one by one, from whatever time they are */
static void precache_file_that_comes_back_keeps_the_others(struct kunit *test)
{
	struct precache_mount file = precache_file_back(test, 2);

	precache_flush_range(file.mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	precache_expect_call(test, 0, FAKE_FLUSH_PAGE, &file, 1);
	KUNIT_EXPECT_FALSE(test, precache_gets(test, &file, 1, 1));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, &file, 2, 2));
	iput(file.inode);
}

/* A flush of all takes what is left from earlier: no other is needed */
static void precache_file_that_comes_back_is_flushed_once(struct kunit *test)
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

	/* What is put from now on is known of */
	precache_reclaim(test, &file, 1, 3);
	precache_reclaim(test, &file, 2, 4);
	precache_flush_range(file.mapping, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_PAGE));
	KUNIT_EXPECT_TRUE(test, precache_gets(test, &file, 2, 4));
	iput(file.inode);
}

/* Else a file that is only written to, directly, pays for each page for ever */
static void precache_file_that_comes_back_soon_flushes_all(struct kunit *test)
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

/* At umount a flush for each file would be for nothing */
static void precache_unmount_flushes_no_file(struct kunit *test)
{
	struct precache_mount *fs = precache_fs(test);
	struct precache_mount file = precache_file(test, 0);
	struct folio *folio;

	precache_reclaim(test, &file, 1, 1);
	folio = filemap_grab_folio(file.mapping, 1);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	folio_unlock(folio);
	folio_put(folio);
	fake_forget_calls();
	/* As in generic_shutdown_super() */
	fs->sb->s_flags &= ~SB_ACTIVE;
	iput(file.inode);
	fs->sb->s_flags |= SB_ACTIVE;
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

static void precache_deleted_file_leaves_nothing(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);

	precache_reclaim(test, &file, 1, 1);
	fake_forget_calls();
	clear_nlink(file.inode);
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 1, fake_calls(FAKE_FLUSH_OBJECT));
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

static void precache_file_obstacle_leaves_nothing(struct kunit *test)
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
static void precache_cached_file_leaves_nothing(struct kunit *test)
{
	struct precache_mount file = precache_file(test, 0);
	struct folio *folio;

	precache_reclaim(test, &file, 1, 1);
	folio = filemap_grab_folio(file.mapping, 1);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	folio_unlock(folio);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, 1, fake_pages());
	iput(file.inode);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());
}

static void precache_unmount_destroys_the_pool_last(struct kunit *test)
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

static void precache_other_block_size_is_refused(struct kunit *test)
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

static void precache_without_a_pool_left_mounts_without(struct kunit *test)
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
static void precache_drop_asks_again_for_a_pool(struct kunit *test)
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

static void precache_pool_of_another_is_used(struct kunit *test)
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
