// SPDX-License-Identifier: GPL-2.0
/*
 * burst KIND SIZE - a program that needs much memory at once
 *
 *	touch MIB	anonymous memory, all of it written to
 *	locked MIB	the same, and locked
 *	sparse MIB	the same, but only a page of each 16 MiB is written to
 *	slab NUMBER	so many files in /dev/shm, which is memory of the kernel
 *			that cannot be reclaimed
 *
 * Says "there" when it has all of it, and keeps it until the end of its input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB	(1ul << 20)

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void memory(const char *kind, size_t len)
{
	size_t step = strcmp(kind, "sparse") ? 4096 : 16 * MIB, i;
	char *p;

	if (!strcmp(kind, "locked") && mlockall(MCL_FUTURE))
		fail("burst: mlockall");
	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		fail("burst: mmap");
	for (i = 0; i < len; i += step)
		p[i] = i / step;
}

static void slab(unsigned long nr)
{
	char name[64];

	while (nr--) {
		snprintf(name, sizeof(name), "/dev/shm/burst%lu", nr);
		if (mknod(name, S_IFREG, 0))
			fail(name);
	}
}

int main(int argc, char **argv)
{
	unsigned long size = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	char c;

	if (!size) {
		fprintf(stderr, "usage: burst KIND SIZE\n");
		return 2;
	}
	if (!strcmp(argv[1], "slab"))
		slab(size);
	else
		memory(argv[1], size * MIB);
	puts("there");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
