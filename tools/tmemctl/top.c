// SPDX-License-Identifier: GPL-2.0
/*
 * What top shows: a row per client, and what the client did since the sample
 * before
 *
 * The most active come first.  Those that find no place on the screen are
 * summed up in its last row.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tmemctl.h"

#define RATE_COLS	7
#define OTHER_COLS	63	/* all but the name */

struct row {
	const struct client *client;	/* NULL: a sum of several */
	const char *name;
	/* KiB, and NONE if it is not known or the client is a pool */
	uint64_t memory, target;
	uint64_t pers, eph, saved;	/* KiB */
	bool rates;			/* the next three are known */
	double puts, gets, hits;	/* per second */
};

/*
 * A client that has another name now, or counts from 0 again, is another one
 * with the same id: its counters have nothing to do with those before.
 */
static bool is_older(const struct client *old, const struct client *new)
{
	return is_pool(old) == is_pool(new) &&
	       old->op.domid == new->op.domid &&
	       !strcmp(old->name, new->name) &&
	       old->stats.puts <= new->stats.puts &&
	       old->stats.gets <= new->stats.gets &&
	       old->stats.hits <= new->stats.hits;
}

static void fill_row(struct row *r, const struct client *c,
		     const struct sample *old, double seconds)
{
	const struct client *o = old->clients, *end = o + old->n;

	*r = (struct row){
		.client = c, .name = *c->name ? c->name : "-",
		.memory = is_pool(c) ? NONE : c->memory.now,
		.target = is_pool(c) ? NONE : c->memory.target,
		.pers = c->stats.pers_bytes >> 10,
		.eph = (c->stats.used_bytes - c->stats.pers_bytes) >> 10,
		.saved = c->stats.hits * PAGE_KIB,
	};
	while (o < end && !is_older(o, c))
		o++;
	if (o == end)
		return;
	r->rates = true;
	r->puts = (c->stats.puts - o->stats.puts) / seconds;
	r->gets = (c->stats.gets - o->stats.gets) / seconds;
	r->hits = (c->stats.hits - o->stats.hits) / seconds;
}

static uint64_t add_known(uint64_t a, uint64_t b)
{
	return a == NONE ? b : b == NONE ? a : a + b;
}

static void add_row(struct row *sum, const struct row *r)
{
	sum->memory = add_known(sum->memory, r->memory);
	sum->target = add_known(sum->target, r->target);
	sum->pers += r->pers;
	sum->eph += r->eph;
	sum->saved += r->saved;
	sum->rates |= r->rates;
	sum->puts += r->puts;
	sum->gets += r->gets;
	sum->hits += r->hits;
}

/* By activity, then by memory in tmem, then as they came */
static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	double rate = y->puts + y->gets - x->puts - x->gets;
	uint64_t kib_x = x->pers + x->eph, kib_y = y->pers + y->eph;

	if (rate)
		return rate > 0 ? 1 : -1;
	if (kib_x != kib_y)
		return kib_y > kib_x ? 1 : -1;
	return x->client < y->client ? -1 : 1;
}

static void print_known(uint64_t kib)
{
	printf(" ");
	if (kib == NONE)
		printf("%*s", SIZE_COLS, "-");
	else
		print_size(kib);
}

/* At most six digits, and a unit */
static void print_rate(bool known, double rate)
{
	const char *unit = " kMGT";

	if (!known) {
		printf(" %*s", RATE_COLS, "-");
		return;
	}
	for (; rate >= 999999.5; unit++)
		rate /= 1000;
	if (*unit == ' ')
		printf(" %*.*f", RATE_COLS, rate && rate < 9.95, rate);
	else
		printf(" %*.0f%c", RATE_COLS - 1, rate, *unit);
}

static void print_row(const struct row *r, int width)
{
	printf("%-*.*s ", width, width, r->name);
	if (!r->client || is_pool(r->client))
		printf("%5s", "-");
	else
		printf("%5u", r->client->op.domid);
	print_known(r->memory);
	print_known(r->target);
	print_known(r->pers);
	print_known(r->eph);
	if (r->gets)
		printf("%6.0f", 100 * r->hits / r->gets);
	else
		printf("%6s", "-");
	print_rate(r->rates, r->puts);
	print_rate(r->rates, r->gets);
	print_known(r->saved);
	printf("\n");
}

/* Sum up all rows from @first on */
static void print_others(const struct row *first, int n, int width)
{
	struct row sum = { .memory = NONE, .target = NONE };
	char name[32];
	int i;

	snprintf(name, sizeof(name), "(%d others)", n);
	sum.name = name;
	for (i = 0; i < n; i++)
		add_row(&sum, &first[i]);
	print_row(&sum, width);
}

static void print_rows(const struct row *rows, int n, int height, int width)
{
	int i, shown = n <= height ? n : height - 1;
	int longest = strlen("(1024 others)");

	for (i = 0; i < n; i++)
		if ((int)strlen(rows[i].name) > longest)
			longest = strlen(rows[i].name);
	width -= OTHER_COLS;
	if (width > longest)
		width = longest;
	if (width < (int)strlen("Name"))
		width = strlen("Name");
	printf("%-*s    ID %*s %*s %*s %*s  Hit%% %*s %*s %*s\n", width, "Name",
	       SIZE_COLS, "Mem", SIZE_COLS, "Target", SIZE_COLS, "Pers",
	       SIZE_COLS, "Eph", RATE_COLS, "Puts/s", RATE_COLS, "Gets/s",
	       SIZE_COLS, "Saved");
	for (i = 0; i < shown; i++)
		print_row(&rows[i], width);
	if (shown >= 0 && shown < n)
		print_others(&rows[shown], n - shown, width);
}

/*
 * @old may be empty: then there are no rates.  Without @screen there is room
 * for all, and nothing but text is printed
 */
void show_top(const struct sample *new, const struct sample *old,
	      double seconds, bool screen)
{
	static struct row rows[NR_CLIENTS];
	int i, height = INT_MAX, width = INT_MAX;

	for (i = 0; i < new->n; i++)
		fill_row(&rows[i], &new->clients[i], old,
			 new->time - old->time);
	qsort(rows, new->n, sizeof(*rows), compare);
	if (screen) {
		screen_size(&height, &width);
		printf("\033[H\033[J");
	}
	printf("tmem: %" PRIu64 " KiB can be freed at once; every %g s%s\n",
	       new->freeable, seconds, screen ? "; q quits" : "");
	print_rows(rows, new->n, height - 3, width);
}
