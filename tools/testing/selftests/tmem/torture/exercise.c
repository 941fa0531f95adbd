// SPDX-License-Identifier: GPL-2.0
/*
 * Exercise a file system from many threads, and check every byte read.
 *
 * Like fsx, but with several threads on one file, asynchronous direct I/O and
 * reused inode numbers: whatever changes a disk below the page cache, or takes
 * a page out of the page cache, while another thread reads next to it.  Another
 * program (agitate) may evict pages at the same time; operation "pageout" does
 * it from here.
 *
 *
 *	The model
 *
 * For each file we have, in memory, its size and all its bytes.  The bytes
 * beyond the size are always zero there, so that a file grows by changing the
 * size.  There is no tolerance anywhere: each byte that is read, in whatever
 * way, is compared.
 *
 * That takes an order between an operation and its effect on the model,
 * although threads work on one file at the same time.  So each operation locks
 * a range of pages of the file, in this program, as long as it runs: shared to
 * read, exclusive to change.  Operations on ranges that do not overlap run at
 * the same time, even where they share the file system's locks, an extent, a
 * folio's neighbourhood, or a partial page's next page.  Whole pages are locked
 * because the file system itself changes the rest of a partial page.
 *
 *
 *	The size
 *
 * An operation that changes the size from S to T also locks all pages from that
 * of min(S, T) to LAST_PAGE.  So an operation that has locked pages a to b can
 * rely on this: if the size ends in or before b it does not change; if it ends
 * after b, it can change, but goes on to end after b.  How much of the range is
 * before the end of file is the same all the time.  Collapsing and inserting a
 * range lock from there to LAST_PAGE, too.
 *
 * Since the size may have changed until the lock is there, it is looked at
 * again.  If the lock is not sufficient any more, the operation does not take
 * place.
 *
 *
 *	The descriptors
 *
 * Descriptors and the mapping that lasts are shared by all threads.  An
 * imaginary page, DESCRIPTORS, stands for them.  An operation that closes,
 * renames or unlinks the file locks from 0 to there.  One that uses only the
 * descriptors (fsync) locks that page, shared, and runs beside everything else.
 * A file is opened when it is used, so it is closed for a while, and its inode
 * can leave memory.
 *
 * There are no deadlocks: a thread that has locked a range only tries to lock
 * another one.
 *
 *
 *	No space
 *
 * A buffered write returns how far it came.  After any other operation that
 * fails, it is not known what is in the range that it has locked.  The file is
 * marked as lost before the lock is released, and no thread touches it any more
 * until it has been created again.
 *
 *
 *	Contents
 *
 * Each 64-bit word says which operation of which file wrote it, and for which
 * offset, so a wrong one says where it came from.  Those of odd operations are
 * scrambled, so that they do not compress.
 *
 *
 *	Where it is
 *
 * exercise_model.c has the model, exercise_read.c reads and compares,
 * exercise_ops.c has the operations; here are the options and the threads.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "exercise.h"
#include "scramble.h"

#define SELFTESTS	64

struct file *files;
int nr_files = 8, nr_threads = 4;
off_t max_size = 1 << 20;
int dir;
off_t sector;
bool left_out[NR_KINDS];
bool selftest;
atomic_long mismatches, lost_files;
atomic_bool stop;

static struct thread threads[MAX_THREADS];
static long seed, max_ops;
static time_t seconds = 60;
static struct timespec started;
static bool direct = true;

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "exercise: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	_exit(2);
}

static bool is_time(void)
{
	struct timespec now;

	SYS(clock_gettime(CLOCK_MONOTONIC, &now));
	return now.tv_sec - started.tv_sec >= seconds;
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	while (!stop && (max_ops ? t->ops < max_ops : !is_time()))
		operate(t);
	return NULL;
}

static void init_thread(struct thread *t, int nr)
{
	t->nr = nr;
	t->random = scramble((uint64_t)seed + 1) ^ scramble(nr + 1) ^ 1;
	t->buf = aligned_alloc(PAGE, MAX_IO);
	t->aio_buf = aligned_alloc(PAGE, AIOS * AIO_LEN);
	CHECK(t->buf && t->aio_buf, "no memory");
	SYS(pipe(t->pipe));
	if (!left_out[AIO_WRITE])
		SYS(syscall(SYS_io_setup, AIOS, &t->aio));
}

static void init_file(struct file *f, int nr)
{
	char new[32];

	f->nr = nr;
	f->fd = -1;
	f->direct = -1;
	snprintf(f->name, sizeof(f->name), "exercise.%d", nr);
	snprintf(new, sizeof(new), "%s.new", f->name);
	unlinkat(dir, f->name, 0);
	unlinkat(dir, new, 0);
	f->want = calloc(1, max_size);
	CHECK(f->want, "no memory");
	pthread_mutex_init(&f->mutex, NULL);
	pthread_cond_init(&f->unlocked, NULL);
}

/* What this file system cannot do */

static void leave_out(enum kind kind, int err)
{
	CHECK(err == EOPNOTSUPP || err == EINVAL || err == EXDEV, "%s: %s",
	      kind_names[kind], strerror(err));
	left_out[kind] = true;
	printf(" %s", kind_names[kind]);
}

/* Also finds the size of a sector.  No name: direct I/O is not wanted. */
static void probe_direct(const char *name, unsigned char *buf)
{
	static const enum kind kinds[] = {
		DIRECT_WRITE, AIO_WRITE, DIRECT_TO_MAP, DIRECT_FROM_MAP,
	};
	int fd = name ? openat(dir, name, O_RDWR | O_DIRECT) : -1;
	size_t i;

	if (fd >= 0)
		for (sector = 512; sector <= PAGE; sector *= 8)
			if (pwrite(fd, buf, sector, sector) == sector)
				break;
	if (fd >= 0)
		SYS(close(fd));
	if (fd >= 0 && sector <= PAGE)
		return;
	sector = 0;
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		leave_out(kinds[i], EINVAL);
}

static void look_what_works(void)
{
	static const char name[] = "exercise.probe";
	unsigned char *buf = aligned_alloc(PAGE, 16 * PAGE);
	off64_t from = 0, to = PAGE;
	enum kind kind;
	int fd;

	CHECK(buf, "no memory");
	memset(buf, 1, 16 * PAGE);
	fd = SYS(openat(dir, name, O_RDWR | O_CREAT, 0600));
	CHECK(write(fd, buf, 16 * PAGE) == 16 * PAGE, "%s: %s", name,
	      strerror(errno));
	printf("exercise: left out:");
	probe_direct(direct ? name : NULL, buf);
	for (kind = PUNCH; kind <= KEEP_SIZE; kind++)
		if (fallocate(fd, fallocate_modes[kind], PAGE, PAGE))
			leave_out(kind, errno);
	if (copy_file_range(fd, &from, fd, &to, PAGE, 0) < 0)
		leave_out(COPY, errno);
	printf("\n");
	SYS(close(fd));
	SYS(unlinkat(dir, name, 0));
	free(buf);
}

/* Flip a bit behind the model's back, or flip it back */
static void flip(struct file *f, off_t off, unsigned char with)
{
	unsigned char byte = f->want[off] ^ with;
	int fd = SYS(openat(dir, f->name, O_WRONLY));

	CHECK(pwrite(fd, &byte, 1, off) == 1, "%s: %s", f->name,
	      strerror(errno));
	SYS(close(fd));
}

/* Is a wrong bit found, in each way of reading? */
static bool run_selftest(struct thread *t)
{
	int i, how, tests = 0, found = 0;

	while (tests < SELFTESTS) {
		struct file *f = random_file(t);
		size_t len = round_up(random_len(t), PAGE), have;
		long before = mismatches;
		struct range *r;
		off_t off, bad;

		for (i = 0; i < 16; i++)
			operate(t);
		CHECK_OP(mismatches, ==, before);
		r = lock(f, 0, DESCRIPTORS, true, true);
		if (!r)
			continue;
		off = round_down(rnd(t, f->size + 1), PAGE);
		have = in_file(f, off, len);
		if (have) {
			bad = off + rnd(t, have);
			flip(f, bad, 1 << rnd(t, 8));
			how = tests++ % (sector ? NR_READERS : NR_READERS - 1);
			readers[how].read(t, f, off, len, have);
			found += mismatches == before + 1;
			if (mismatches == before)
				printf("not found: %s of %#zx at %#lx, wrong at %#lx\n",
				       kind_names[readers[how].kind], len, off,
				       bad);
			flip(f, bad, 0);
			mismatches = before;
		}
		unlock(f, r);
	}
	printf("exercise: selftest: %d of %d found\n", found, tests);
	return found == tests;
}

static void run_threads(void)
{
	int i;

	for (i = 0; i < nr_threads; i++)
		CHECK(!pthread_create(&threads[i].id, NULL, thread_main,
				      &threads[i]), "no thread");
	for (i = 0; i < nr_threads; i++)
		pthread_join(threads[i].id, NULL);
}

/* What the page cache has, and what the disk has */
static void verify_all(struct thread *t)
{
	struct file *f;

	for (f = files; f < files + nr_files; f++) {
		if (is_lost(f))
			recreate(t, f);
		verify_file(t, f, read_buffered);
		if (sector)
			verify_file(t, f, read_direct);
	}
}

static void remove_files(void)
{
	int i;

	for (i = 0; i < nr_files; i++) {
		close_file(&files[i]);
		unlinkat(dir, files[i].name, 0);
	}
}

static void on_signal(int sig)
{
	(void)sig;
	stop = true;
}

static void print_usage(void)
{
	fprintf(stderr,
		"usage: exercise DIR [--seconds N | --ops N] [--threads N] [--seed N]\n"
		"		[--files N] [--size BYTES] [--no-direct] [--selftest]\n"
		"--ops is per thread.  One thread does the same each time with the same seed.\n");
	exit(2);
}

static long number(const char *text, long from, long to)
{
	char *end;
	long n = strtol(text, &end, 0);

	if (*end || end == text || n < from || n > to) {
		fprintf(stderr, "exercise: %s is not from %ld to %ld\n", text,
			from, to);
		print_usage();
	}
	return n;
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'o' },
		{ "threads", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'r' },
		{ "files", required_argument, NULL, 'f' },
		{ "size", required_argument, NULL, 'z' },
		{ "no-direct", no_argument, NULL, 'd' },
		{ "selftest", no_argument, NULL, 'x' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 's':
			seconds = number(optarg, 1, INT32_MAX);
			break;
		case 'o':
			max_ops = number(optarg, 1, INT32_MAX);
			break;
		case 't':
			nr_threads = number(optarg, 1, MAX_THREADS);
			break;
		case 'r':
			seed = number(optarg, 0, INT64_MAX);
			break;
		case 'f':
			nr_files = number(optarg, 1, MAX_FILES);
			break;
		case 'z':
			max_size = round_down(number(optarg, PAGE, MAX_SIZE),
					      PAGE);
			break;
		case 'd':
			direct = false;
			break;
		case 'x':
			selftest = true;
			nr_threads = 1;
			break;
		default:
			print_usage();
		}
	if (optind != argc - 1)
		print_usage();
	dir = SYS(open(argv[optind], O_RDONLY | O_DIRECTORY));
}

static void set_up(void)
{
	struct sigaction on_bus = {
		.sa_handler = sigbus,
		.sa_flags = SA_NODEFER,
	};
	int i;

	SYS(sigaction(SIGBUS, &on_bus, NULL));
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	files = calloc(nr_files, sizeof(*files));
	CHECK(files, "no memory");
	for (i = 0; i < nr_files; i++)
		init_file(&files[i], i);
	look_what_works();
	for (i = 0; i < nr_threads; i++)
		init_thread(&threads[i], i);
	SYS(clock_gettime(CLOCK_MONOTONIC, &started));
}

static void print_result(void)
{
	long ops = 0, reads = 0, written = 0;
	int i;

	for (i = 0; i < nr_threads; i++) {
		ops += threads[i].ops;
		reads += threads[i].reads;
		written += threads[i].written;
	}
	if (lost_files)
		printf("exercise: no space: %ld files begun again\n",
		       lost_files);
	printf("exercise: seed %ld\n", seed);
	printf("exercise: ops %ld reads %ld written_bytes %ld mismatches %ld\n",
	       ops, reads, written, mismatches);
}

int main(int argc, char **argv)
{
	bool ok = true;

	seed = time(NULL);
	parse_options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("exercise: seed %ld, %d threads, %d files of up to %ld bytes\n",
	       seed, nr_threads, nr_files, max_size);
	set_up();
	if (selftest)
		ok = run_selftest(&threads[0]);
	else
		run_threads();
	verify_all(&threads[0]);
	ok &= !mismatches;
	if (ok)
		remove_files();
	print_result();
	return ok ? 0 : 1;
}
