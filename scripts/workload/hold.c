// SPDX-License-Identifier: GPL-2.0
/*
 * hold MIB [write] - a program with a lot of data in anonymous memory
 *
 * Fills MIB of memory with records like those of a heap.  Then it checks all of
 * it and says how many pages are right, at once and for each empty line on the
 * standard input.  Ends at the end of input, or with status 1 at the first
 * wrong byte.  With "write" it also writes what it has checked: a page that was
 * swapped in has to be swapped out again, and cannot just be dropped.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

/* LZ4 compresses these to a third, as it does many a real heap */
struct record {
	uint64_t next, previous;	/* like pointers to neighbours */
	uint32_t key;			/* random */
	uint32_t count;			/* small */
	char name[40];			/* short */
};

static void fill(struct record *record, size_t page)
{
	uint32_t random = page * 2654435761u + 1;
	size_t i;

	memset(record, 0, PAGE);
	for (i = 0; i < PAGE / sizeof(*record); i++, record++) {
		random = random * 1664525 + 1013904223;
		record->next = 0x55d0c0000000 + page * PAGE + (random >> 20);
		record->previous = record->next - (random >> 8 & 0xfff);
		record->key = random;
		record->count = random >> 28;
		memcpy(record->name, "item-", 5);
		record->name[5] = 'a' + page % 26;
		record->name[6] = 'a' + i % 26;
	}
}

int main(int argc, char **argv)
{
	size_t pages = argc > 1 ? strtoul(argv[1], NULL, 10) << 8 : 0, i;
	char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct record expected[PAGE / sizeof(struct record)];

	if (memory == MAP_FAILED) {
		perror("hold: mmap");
		return 1;
	}
	for (i = 0; i < pages; i++)
		fill((void *)(memory + i * PAGE), i);
	do {
		for (i = 0; i < pages; i++) {
			fill(expected, i);
			if (memcmp(memory + i * PAGE, expected, PAGE)) {
				printf("hold: page %zu is wrong\n", i);
				return 1;
			}
			if (argc > 2)
				memcpy(memory + i * PAGE, expected, PAGE);
		}
		printf("hold: %zu pages are right\n", pages);
		fflush(stdout);
	} while (getchar() != EOF);
	return 0;
}
