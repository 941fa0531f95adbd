// SPDX-License-Identifier: GPL-2.0
/*
 * What tmemctl prints: tables and JSON
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "tmemctl.h"

/*
 * Columns
 */

struct column {
	const char *key, *title;	/* no title: only in JSON */
	enum { COUNT, SIZE, MEMORY } kind;
	uint64_t (*value)(const struct client *c);
};

/* SIZE is in KiB and may be NONE, and so is MEMORY, which only domains have */

#define COLUMN(name, expr)						\
	static uint64_t name(const struct client *c) { return expr; }

/* What is left of the domain's maximum for more of either */
static uint64_t c_room(const struct client *c)
{
	uint64_t used = c->memory.now + (c->stats.pers_bytes >> 10);

	if (c->memory.max == NONE)
		return NONE;
	return used < c->memory.max ? c->memory.max - used : 0;
}

COLUMN(c_memory, c->memory.now)
COLUMN(c_max, c->memory.max)
COLUMN(c_target, c->memory.target)
COLUMN(c_eph_kib, (c->stats.used_bytes - c->stats.pers_bytes) >> 10)
COLUMN(c_eph_pages, c->stats.eph_pages)
COLUMN(c_pers_kib, c->stats.pers_bytes >> 10)
COLUMN(c_pers_pages, c->stats.pers_pages)
COLUMN(c_raw_pages, c->stats.raw_pages)
COLUMN(c_lz4_pages, c->stats.lz4_pages)
COLUMN(c_meta_bytes, c->stats.meta_bytes)
COLUMN(c_puts, c->stats.puts)
COLUMN(c_fails, c->stats.put_fails)
COLUMN(c_gets, c->stats.gets)
COLUMN(c_hits, c->stats.hits)
COLUMN(c_flushed, c->stats.flushed)
COLUMN(c_evicted, c->stats.evicted)
COLUMN(c_weight, c->op.weight)
COLUMN(c_cap, c->op.cap)
COLUMN(c_min, c->op.min)

static const struct column columns[] = {
	{ "memory_kib", "Mem", MEMORY, c_memory },
	{ "persistent_kib", "Pers", SIZE, c_pers_kib },
	{ "room_kib", "Room", MEMORY, c_room },
	{ "max_kib", "Max", MEMORY, c_max },
	{ "target_kib", NULL, MEMORY, c_target },
	{ "ephemeral_kib", "Eph", SIZE, c_eph_kib },
	{ "ephemeral_pages", NULL, COUNT, c_eph_pages },
	{ "persistent_pages", NULL, COUNT, c_pers_pages },
	{ "raw_pages", NULL, COUNT, c_raw_pages },
	{ "compressed_pages", NULL, COUNT, c_lz4_pages },
	{ "metadata_bytes", NULL, COUNT, c_meta_bytes },
	{ "puts", "Puts", COUNT, c_puts },
	{ "failed_puts", "Failed", COUNT, c_fails },
	{ "gets", "Gets", COUNT, c_gets },
	{ "hits", "Hits", COUNT, c_hits },
	{ "flushed_pages", NULL, COUNT, c_flushed },
	{ "evicted_pages", "Evicted", COUNT, c_evicted },
	{ "weight", "Weight", COUNT, c_weight },
	{ "cap_kib", "Cap", SIZE, c_cap },
	{ "min_kib", "Min", SIZE, c_min },
};

#define NR_COLUMNS	(sizeof(columns) / sizeof(*columns))
#define NUMBER_COLS	9

void print_uuid(char text[UUID_LEN + 1], const uint64_t uuid[2])
{
	const unsigned char *b = (const unsigned char *)uuid;

	sprintf(text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
		b[10], b[11], b[12], b[13], b[14], b[15]);
}

/*
 * Tables
 */

/* At most four digits, and a unit */
void print_size(uint64_t kib)
{
	const char *unit = "KMGTPE";
	double n = kib;

	if (!kib || kib == NONE) {
		printf("%*s", SIZE_COLS, kib ? "none" : "0");
		return;
	}
	while (n >= 9999.5) {
		n /= 1024;
		unit++;
	}
	printf("%*.*f%c", SIZE_COLS - 1, *unit != 'K' && n < 99.95, n, *unit);
}

static void print_state(const struct client *c)
{
	const char *comma = " ";

	if (is_pool(c)) {
		printf(" shared by %u", c->op.pools);
		comma = ", ";
	}
	if (c->op.flags & XEN_SYSCTL_TMEM_FROZEN) {
		printf("%sfrozen", comma);
		comma = ", ";
	}
	if (c->op.flags & XEN_SYSCTL_TMEM_COMPRESS)
		printf("%slz4", comma);
}

static void print_head(int width)
{
	size_t k;

	printf("%-*s %5s", width, "Name", "ID");
	for (k = 0; k < NR_COLUMNS; k++)
		if (columns[k].title)
			printf(" %*s", columns[k].kind == COUNT ? NUMBER_COLS :
								  SIZE_COLS,
			       columns[k].title);
	printf(" State\n");
}

static void print_row(const struct client *c, int width)
{
	size_t k;

	printf("%-*s ", width, *c->name ? c->name : "-");
	if (is_pool(c))
		printf("%5s", "-");
	else
		printf("%5u", c->op.domid);
	for (k = 0; k < NR_COLUMNS; k++) {
		uint64_t v = columns[k].value(c);

		if (!columns[k].title)
			continue;
		printf(" ");
		if (columns[k].kind == COUNT)
			printf("%*" PRIu64, NUMBER_COLS, v);
		else if (columns[k].kind == MEMORY && is_pool(c))
			printf("%*s", SIZE_COLS, "-");
		else
			print_size(v);
	}
	print_state(c);
	printf("\n");
}

void show_table(const struct client *c, int n)
{
	int i, width = 4;

	for (i = 0; i < n; i++)
		if ((int)strlen(c[i].name) > width)
			width = strlen(c[i].name);
	print_head(width);
	for (i = 0; i < n; i++)
		print_row(&c[i], width);
}

/*
 * JSON
 */

/* A name is any text that does not end a string early */
static void print_json_string(const char *s)
{
	putchar('"');
	for (; *s; s++)
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			printf("\\u%04x", *s);
		else
			putchar(*s);
	putchar('"');
}

static const char *json_bool(uint32_t set)
{
	return set ? "true" : "false";
}

static void print_json_client(const struct client *c)
{
	size_t k;

	if (is_pool(c)) {
		printf("{\"uuid\": \"%s\", \"users\": %u", c->name, c->op.pools);
	} else {
		printf("{\"domid\": %u, \"name\": ", c->op.domid);
		if (*c->name)
			print_json_string(c->name);
		else
			printf("null");
		printf(", \"pools\": %u, \"frozen\": %s", c->op.pools,
		       json_bool(c->op.flags & XEN_SYSCTL_TMEM_FROZEN));
	}
	for (k = 0; k < NR_COLUMNS; k++) {
		uint64_t v = columns[k].value(c);

		if (columns[k].kind == MEMORY && is_pool(c))
			continue;
		printf(", \"%s\": ", columns[k].key);
		if (columns[k].kind != COUNT && v == NONE)
			printf("null");
		else
			printf("%" PRIu64, v);
	}
	printf(", \"compress\": %s}",
	       json_bool(c->op.flags & XEN_SYSCTL_TMEM_COMPRESS));
}

void show_json(const struct client *c, int n)
{
	const char *comma = "";
	int i;

	printf("{\"domains\": [");
	for (i = 0; i < n && !is_pool(&c[i]); i++, comma = ",") {
		printf("%s\n  ", comma);
		print_json_client(&c[i]);
	}
	printf("],\n \"shared_pools\": [");
	for (comma = ""; i < n; i++, comma = ",") {
		printf("%s\n  ", comma);
		print_json_client(&c[i]);
	}
	printf("]}\n");
}
