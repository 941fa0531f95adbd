// SPDX-License-Identifier: GPL-2.0
/*
 * precache and pages that are stolen from the page cache: FUSE takes a page
 * that is spliced to it (SPLICE_F_MOVE) out of its file, to make it one of its
 * own.
 *
 * So here is a FUSE server of one file, which is the root, and has the contents
 * of another one.
 */

#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tmem_test.h"

#define LEN		(8 * PAGE)
#define STOLEN		"/tmp/tmem/stolen"

static void reply(int dev, uint64_t unique, int err, const void *data,
		  size_t len)
{
	struct {
		struct fuse_out_header head;
		char data[256];
	} out = { .head = { sizeof(out.head) + len, err, unique } };

	memcpy(out.data, data, len);
	CHECK_OP(SYS(write(dev, &out, out.head.len)), ==, out.head.len);
}

/* The header, and the pages of the file themselves */
static void reply_by_splice(int dev, uint64_t unique, int fd, loff_t off,
			    size_t len)
{
	struct fuse_out_header head = { sizeof(head) + len, 0, unique };
	int pipe_fds[2];

	SYS(pipe(pipe_fds));
	CHECK_OP(SYS(write(pipe_fds[1], &head, sizeof(head))), ==,
		 sizeof(head));
	CHECK_OP(SYS(splice(fd, &off, pipe_fds[1], NULL, len, 0)), ==, len);
	CHECK_OP(SYS(splice(pipe_fds[0], NULL, dev, NULL, head.len,
			    SPLICE_F_MOVE)), ==, head.len);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static __noreturn void serve(int dev, int fd)
{
	const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = LEN, .max_write = LEN,
	};
	const struct fuse_attr_out attr = {
		.attr_valid = 3600,
		.attr = { .ino = FUSE_ROOT_ID, .size = LEN, .nlink = 1,
			  .mode = S_IFREG | 0600, .blksize = PAGE },
	};
	const struct fuse_open_out opened = { 0 };
	struct fuse_write_out written = { 0 };
	const size_t size = 1 << 16;
	char *request = buffer(size);
	struct fuse_in_header *head = (void *)request;
	union {
		struct fuse_read_in read;
		struct fuse_write_in write;
	} *arg = (void *)(head + 1);

	for (;;) {
		SYS(read(dev, request, size));
		switch (head->opcode) {
		case FUSE_INIT:
			reply(dev, head->unique, 0, &init, sizeof(init));
			break;
		case FUSE_GETATTR:
			reply(dev, head->unique, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			reply(dev, head->unique, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			reply_by_splice(dev, head->unique, fd,
					arg->read.offset, arg->read.size);
			break;
		case FUSE_WRITE:
			written.size = arg->write.size;
			reply(dev, head->unique, 0, &written, sizeof(written));
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
			break;
		default:
			reply(dev, head->unique, -EOPNOTSUPP, NULL, 0);
		}
	}
}

static int served(int fd)
{
	int dev = SYS(open("/dev/fuse", O_RDWR));
	char options[64];

	close(SYS(open(STOLEN, O_RDWR | O_CREAT, 0600)));
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=100000,user_id=0,group_id=0", dev);
	SYS(mount("tmem", STOLEN, "fuse", 0, options));
	if (!SYS(fork()))
		serve(dev, fd);
	close(dev);
	return SYS(open(STOLEN, O_RDWR));
}

/*
 * The page that leaves is newer than what tmem has, which must go.  Nor may it
 * be put: it has another owner now, which may change it.  Hook: the flush in
 * precache_evict() where a put is refused.
 */
static void stolen_page_uncovers_no_old_page(void)
{
	static const char put[] = "tmem/tmem_put_page";
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, LEN), thief;

	to_tmem(fd);
	file_write(fd, NEW, 0, LEN);
	SYS(fsync(fd));
	CHECK_OP(since(PRECACHE_GET), ==, 0);
	CHECK_OP(file_cached(fd), ==, LEN / PAGE);

	thief = served(fd);
	trace_begin(put, "oid0 == %ld", file_ino(fd));
	file_verify(thief, NEW, 0, LEN);
	note("stolen: %ld of %ld pages", LEN / PAGE - file_cached(fd),
	     LEN / PAGE);
	CHECK_OP(file_cached(fd), ==, 0);
	CHECK_OP(file_cached(thief), ==, LEN / PAGE);
	CHECK_OP(trace_end(put), ==, 0);

	/* The server forgets what is written, the page cache does not */
	file_write(thief, 3, 0, LEN);
	file_verify(thief, 3, 0, LEN);
	file_verify(fd, NEW, 0, LEN);
	to_tmem(fd);
	file_verify(fd, NEW, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), ==, LEN / PAGE);
}

static const struct test tests[] = {
	TEST(stolen_page_uncovers_no_old_page),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "precache", tests, ARRAY_SIZE(tests));
}
