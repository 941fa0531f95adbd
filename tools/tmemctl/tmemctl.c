// SPDX-License-Identifier: GPL-2.0
/*
 * tmemctl - transcendent memory of a Xen host: who has how much, and who may
 *
 * Everything is one sysctl hypercall per client and question, through
 * libxencall, so it runs on a dom0 whose toolstack has never heard of tmem.  A
 * client is a domain or a shared pool.  See tmemctl(8) for what it does and how
 * it exits.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <xencall.h>
#include <xenstore.h>
#include <xenstore_lib.h>
#include <xentoollog.h>
#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/sysctl.h>
#ifndef XEN_SYSCTL_tmem_op
#define XEN_SYSCTL_tmem_op	24
#include "tmem_sysctl.h"
#endif

_Static_assert(sizeof(struct xen_sysctl_tmem_op) <=
	       sizeof(((struct xen_sysctl *)0)->u.pad), "ABI");

/* Exit statuses, as in the manual */
enum {
	OK, FAILED, USAGE, NO_TMEM, NOT_FOUND
};

#define NR_CLIENTS	1024
#define NAME_LEN	64
#define UUID_LEN	36

struct client {
	struct xen_sysctl_tmem_op op;
	struct xen_sysctl_tmem_stats stats;
	char name[NAME_LEN];		/* or nothing; of a shared pool: its uuid */
};

static xencall_handle *xen;
static struct xs_handle *store;

/* Options */
static bool json;
static const char *to_remove;

static __attribute__((noreturn, format(printf, 2, 3)))
void die(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "tmemctl: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

/*
 * The hypercall
 */

/* What the hypervisor writes has to be in memory that it can reach at any time */
struct bounce {
	struct xen_sysctl sysctl;
	struct xen_sysctl_tmem_stats stats;
};

static struct bounce *bounce;

static void xen_open(void)
{
	/* What is wrong is said here, not by the library */
	xentoollog_logger *quiet = (xentoollog_logger *)
		xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);

	xen = xencall_open(quiet, 0);
	if (!xen && (errno == EACCES || errno == EPERM))
		die(NO_TMEM, "/dev/xen/privcmd: %s: run it as root",
		    strerror(errno));
	if (!xen)
		die(NO_TMEM, "/dev/xen/privcmd: %s: this is not a dom0",
		    strerror(errno));
	bounce = xencall_alloc_buffer(xen, sizeof(*bounce));
	if (!bounce)
		die(FAILED, "%s", strerror(errno));
	/* For names.  Without a xenstored here it would wait for one */
	if (!access(xs_daemon_socket(), F_OK))
		store = xs_open(0);
}

/* Return: 0 or an errno */
static int control(struct xen_sysctl_tmem_op *op,
		   struct xen_sysctl_tmem_stats *stats)
{
	struct xen_sysctl *sysctl = &bounce->sysctl;
	int ret;

	memset(bounce, 0, sizeof(*bounce));
	sysctl->cmd = XEN_SYSCTL_tmem_op;
	sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	if (stats)
		set_xen_guest_handle(op->stats, &bounce->stats);
	memcpy(&sysctl->u, op, sizeof(*op));
	ret = xencall1(xen, __HYPERVISOR_sysctl, (uintptr_t)sysctl);
	if (ret < 0)
		ret = errno;
	memcpy(op, &sysctl->u, sizeof(*op));
	if (stats)
		*stats = bounce->stats;
	return ret;
}

static __attribute__((noreturn)) void control_failed(int err, const char *who)
{
	switch (err) {
	case ESRCH:
		die(NOT_FOUND, "%s: no such domain, or it has no tmem", who);
	case ENODEV:
		die(NO_TMEM, "tmem is off: boot Xen with 'tmem' on its command line");
	case ENOSYS:
	case EOPNOTSUPP:
		die(NO_TMEM, "this Xen has no tmem");
	case EPERM:
		die(NO_TMEM, "this domain may not control tmem: only dom0 may");
	case EACCES:
		die(NO_TMEM, "this domain may not control tmem, or this Xen does not have version %#x of the interface",
		    XEN_SYSCTL_INTERFACE_VERSION);
	default:
		die(FAILED, "%s: %s", who, strerror(err));
	}
}

static void must_control(struct xen_sysctl_tmem_op *op, const char *who)
{
	int err = control(op, NULL);

	if (err)
		control_failed(err, who);
}

static uint64_t freeable_kib(void)
{
	struct xen_sysctl_tmem_op op = {
		.cmd = XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE,
	};

	must_control(&op, "freeable");
	return op.kib;
}

/*
 * Arguments
 */

static bool parse_uuid(uint64_t uuid[2], const char *s)
{
	unsigned char byte[16];
	int i;

	for (i = 0; i < 16; i++, s += 2) {
		if (*s == '-' && (i == 4 || i == 6 || i == 8 || i == 10))
			s++;
		if (!isxdigit((unsigned char)s[0]) ||
		    !isxdigit((unsigned char)s[1]))
			return false;
		sscanf(s, "%2hhx", &byte[i]);
	}
	memcpy(uuid, byte, sizeof(byte));
	return !*s;
}

static void print_uuid(char text[UUID_LEN + 1], const uint64_t uuid[2])
{
	const unsigned char *b = (const unsigned char *)uuid;

	sprintf(text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
		b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void uuid_of(uint64_t uuid[2], const char *s)
{
	if (!parse_uuid(uuid, s))
		die(USAGE, "'%s' is not a uuid, like 00112233-4455-6677-8899-aabbccddeeff",
		    s);
	if ((uuid[0] & uuid[1]) == ~0ull)
		die(USAGE, "a pool with this uuid is never shared");
}

/* K, M, G or T; KiB without.  One below the largest number, which is "none" */
static uint64_t size_of(const char *what, const char *s)
{
	static const char units[] = "kmgt";
	const char *unit;
	uint64_t n;
	char *end;
	int shift;

	if (!isdigit((unsigned char)*s))
		die(USAGE, "%s: '%s' is not a size, like 512M", what, s);
	errno = 0;
	n = strtoull(s, &end, 10);
	unit = *end ? strchr(units, tolower((unsigned char)*end)) : units;
	if (!unit || (*end && end[1]))
		die(USAGE, "%s: '%s' is not a size, like 512M", what, s);
	shift = 10 * (unit - units);
	if (errno || n > (UINT64_MAX - 1) >> shift)
		die(USAGE, "%s: %s is too much", what, s);
	return n << shift;
}

static uint32_t weight_of(const char *s)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (!isdigit((unsigned char)*s) || *end || errno || !n || n > UINT32_MAX)
		die(USAGE, "weight: '%s' is not a number from 1 to %u", s,
		    UINT32_MAX);
	return n;
}

/*
 * Clients
 */

static void read_name(struct client *c)
{
	unsigned int len;
	char path[64], *name = NULL;

	snprintf(path, sizeof(path), "/local/domain/%u/name", c->op.domid);
	if (store)
		name = xs_read(store, XBT_NULL, path, &len);
	snprintf(c->name, sizeof(c->name), "%s", name ?: "");
	free(name);
}

/* Return: how many there are; domains come first */
static int read_clients(struct client *c)
{
	unsigned int next = 0;
	bool pools = false;
	int n = 0, err;

	while (n < NR_CLIENTS) {
		c[n].op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_GET,
		};
		if (pools) {
			c[n].op.flags = XEN_SYSCTL_TMEM_SHARED;
			c[n].op.nr = next;
		} else {
			c[n].op.domid = next;
		}
		err = control(&c[n].op, &c[n].stats);
		if (err == ESRCH) {	/* no more domains */
			pools = true;
			next = 0;
		} else if (err == ENOENT) {
			break;
		} else if (err) {
			control_failed(err, "list");
		} else if (pools) {
			print_uuid(c[n].name, c[n].op.uuid);
			next++;
			n++;
		} else {
			read_name(&c[n]);
			next = c[n].op.domid + 1;
			n++;
		}
	}
	return n;
}

static bool is_pool(const struct client *c)
{
	return c->op.flags & XEN_SYSCTL_TMEM_SHARED;
}

/* A domain by its id or its name */
static unsigned int domain_of(const char *who)
{
	static struct client c[NR_CLIENTS];
	unsigned long id;
	char *end;
	int i, n;

	id = strtoul(who, &end, 10);
	if (isdigit((unsigned char)*who) && !*end) {
		if (id >= XEN_SYSCTL_TMEM_ALL)
			die(NOT_FOUND, "%s: no such domain", who);
		return id;
	}
	n = read_clients(c);
	for (i = 0; i < n; i++)
		if (!is_pool(&c[i]) && *c[i].name && !strcmp(c[i].name, who))
			return c[i].op.domid;
	die(NOT_FOUND, "%s: no domain of this name%s", who,
	    store ? " has tmem" : ", as no xenstored knows names: give the id");
}

/*
 * list, top
 */

struct column {
	const char *key, *title;	/* no title: only in JSON */
	bool size;			/* in KiB */
	uint64_t (*value)(const struct client *c);
};

#define COLUMN(name, expr)						\
	static uint64_t name(const struct client *c) { return expr; }

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

static const struct column columns[] = {
	{ "ephemeral_kib", "Eph", true, c_eph_kib },
	{ "ephemeral_pages", NULL, false, c_eph_pages },
	{ "persistent_kib", "Pers", true, c_pers_kib },
	{ "persistent_pages", NULL, false, c_pers_pages },
	{ "raw_pages", NULL, false, c_raw_pages },
	{ "compressed_pages", NULL, false, c_lz4_pages },
	{ "metadata_bytes", NULL, false, c_meta_bytes },
	{ "puts", "Puts", false, c_puts },
	{ "failed_puts", "Failed", false, c_fails },
	{ "gets", "Gets", false, c_gets },
	{ "hits", "Hits", false, c_hits },
	{ "flushed_pages", NULL, false, c_flushed },
	{ "evicted_pages", "Evicted", false, c_evicted },
	{ "weight", "Weight", false, c_weight },
};

#define NR_COLUMNS	(sizeof(columns) / sizeof(*columns))
#define SIZE_WIDTH	6
#define NUMBER_WIDTH	9

/* Four digits or less, and a unit */
static void print_size(uint64_t kib)
{
	const char *unit = "KMGTPE";
	double n = kib;

	if (!kib || kib == ~0ull) {
		printf("%*s", SIZE_WIDTH, kib ? "none" : "0");
		return;
	}
	while (n >= 9999.5) {
		n /= 1024;
		unit++;
	}
	printf("%*.*f%c", SIZE_WIDTH - 1, *unit != 'K' && n < 99.95, n, *unit);
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

static bool same_client(const struct client *a, const struct client *b)
{
	if (is_pool(a) || is_pool(b))
		return !strcmp(a->name, b->name);
	return a->op.domid == b->op.domid;
}

/* What is not as in @old stands out.  Up to @rows lines */
static void print_table(const struct client *c, int n,
			const struct client *old, int nr_old, int rows)
{
	int i, j, width = 4;
	size_t k;

	for (i = 0; i < n; i++)
		if ((int)strlen(c[i].name) > width)
			width = strlen(c[i].name);
	printf("%-*s %5s", width, "Name", "ID");
	for (k = 0; k < NR_COLUMNS; k++)
		if (columns[k].title)
			printf(" %*s", columns[k].size ? SIZE_WIDTH :
							 NUMBER_WIDTH,
			       columns[k].title);
	printf(" %*s %*s State\n", SIZE_WIDTH, "Cap", SIZE_WIDTH, "Min");

	for (i = 0; i < n && i < rows - 1; i++) {
		for (j = 0; j < nr_old && !same_client(&old[j], &c[i]); j++)
			;
		printf("%-*s ", width, *c[i].name ? c[i].name : "-");
		if (is_pool(&c[i]))
			printf("%5s", "-");
		else
			printf("%5u", c[i].op.domid);
		for (k = 0; k < NR_COLUMNS; k++) {
			uint64_t v = columns[k].value(&c[i]);
			bool changed = j < nr_old &&
				       columns[k].value(&old[j]) != v;

			if (!columns[k].title)
				continue;
			printf(changed ? " \033[1;7m" : " ");
			if (columns[k].size)
				print_size(v);
			else
				printf("%*" PRIu64, NUMBER_WIDTH, v);
			if (changed)
				printf("\033[0m");
		}
		printf(" ");
		print_size(c[i].op.cap);
		printf(" ");
		print_size(c[i].op.min);
		print_state(&c[i]);
		printf("\n");
	}
}

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
	for (k = 0; k < NR_COLUMNS; k++)
		printf(", \"%s\": %" PRIu64, columns[k].key,
		       columns[k].value(c));
	if (c->op.cap == ~0ull)
		printf(", \"cap_kib\": null");
	else
		printf(", \"cap_kib\": %" PRIu64, c->op.cap);
	printf(", \"min_kib\": %" PRIu64 ", \"compress\": %s}", c->op.min,
	       json_bool(c->op.flags & XEN_SYSCTL_TMEM_COMPRESS));
}

static void print_json(const struct client *c, int n)
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

static int cmd_list(int argc, char **argv)
{
	static struct client c[NR_CLIENTS];
	int n;

	if (argc)
		die(USAGE, "list takes no argument, but there is '%s'", argv[0]);
	n = read_clients(c);
	if (json)
		print_json(c, n);
	else
		print_table(c, n, NULL, 0, NR_CLIENTS + 1);
	return OK;
}

static struct termios terminal;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

static void restore_terminal(void)
{
	printf("\033[?25h\033[?7h\033[?1049l");	/* cursor, wrapping, screen */
	fflush(stdout);
	tcsetattr(0, TCSANOW, &terminal);
}

static void use_terminal(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct termios raw;

	tcgetattr(0, &terminal);
	atexit(restore_terminal);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	raw = terminal;
	raw.c_lflag &= ~(ICANON | ECHO);
	tcsetattr(0, TCSANOW, &raw);
	printf("\033[?1049h\033[?7l\033[?25l");
}

static int screen_rows(void)
{
	struct winsize size;

	return ioctl(1, TIOCGWINSZ, &size) || !size.ws_row ? 24 : size.ws_row;
}

/* Return: whether to go on */
static bool wait_for_key(double seconds)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char key;

	if (poll(&in, 1, seconds * 1e3) > 0 &&
	    (read(0, &key, 1) != 1 || key == 'q'))
		return false;
	return !stop;
}

static int cmd_top(int argc, char **argv)
{
	static struct client c[2][NR_CLIENTS];
	bool screen = isatty(0) && isatty(1);
	int n, nr_old = 0, now = 0;
	double seconds = 2;
	uint64_t kib;
	char *end;

	if (json)
		die(USAGE, "top has no --json: use list");
	if (argc > 1)
		die(USAGE, "top takes one argument at most, the seconds");
	if (argc) {
		seconds = strtod(argv[0], &end);
		if (*end || !(seconds >= 0.1 && seconds <= 3600))
			die(USAGE, "'%s' is not a number of seconds from 0.1 to 3600",
			    argv[0]);
	}
	kib = freeable_kib();	/* if that is an error, it stays on the screen */
	if (screen)
		use_terminal();
	do {
		n = read_clients(c[now]);
		if (screen)
			printf("\033[H\033[J");
		printf("tmem: %" PRIu64 " KiB can be freed at once; every %g s%s\n",
		       kib, seconds, screen ? "; q quits" : "");
		print_table(c[now], n, c[!now], screen ? nr_old : 0,
			    screen ? screen_rows() - 2 : NR_CLIENTS + 1);
		if (fflush(stdout) || ferror(stdout))
			return FAILED;
		nr_old = n;
		now = !now;
		if (!screen)
			usleep(seconds * 1e6);
		else if (!wait_for_key(seconds))
			return OK;
		kib = freeable_kib();
	} while (1);
}

/*
 * The others
 */

/* The shared pool or the domain that SET is about */
static void set_target(struct xen_sysctl_tmem_op *op, const char *who)
{
	uint64_t uuid[2];

	if (parse_uuid(uuid, who)) {
		memcpy(op->uuid, uuid, sizeof(uuid));
		op->flags |= XEN_SYSCTL_TMEM_SHARED;
	} else {
		op->domid = domain_of(who);
	}
}

static int cmd_set(int argc, char **argv)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_SET };
	char *value;
	int i, err;

	if (argc < 2)
		die(USAGE, "set needs a domain or the uuid of a shared pool, and weight=, cap=, min= or compress=");
	for (i = 1; i < argc; i++) {
		value = strchr(argv[i], '=');
		if (!value)
			die(USAGE, "'%s' has no value", argv[i]);
		*value++ = '\0';
		if (!strcmp(argv[i], "weight")) {
			op.weight = weight_of(value);
			op.mask |= XEN_SYSCTL_TMEM_SET_WEIGHT;
		} else if (!strcmp(argv[i], "cap")) {
			op.cap = !strcmp(value, "none") ? ~0ull :
				 size_of("cap", value);
			op.mask |= XEN_SYSCTL_TMEM_SET_CAP;
		} else if (!strcmp(argv[i], "min")) {
			op.min = size_of("min", value);
			op.mask |= XEN_SYSCTL_TMEM_SET_MIN;
		} else if (!strcmp(argv[i], "compress")) {
			if (!strcmp(value, "on"))
				op.flags |= XEN_SYSCTL_TMEM_COMPRESS;
			else if (strcmp(value, "off"))
				die(USAGE, "compress: '%s' is neither on nor off",
				    value);
			op.mask |= XEN_SYSCTL_TMEM_SET_COMPRESS;
		} else {
			die(USAGE, "unknown setting '%s': there are weight, cap, min and compress",
			    argv[i]);
		}
	}
	set_target(&op, argv[0]);
	err = control(&op, NULL);
	if (err == ENOENT)
		die(NOT_FOUND, "%s: no such shared pool", argv[0]);
	if (err)
		control_failed(err, argv[0]);
	return OK;
}

static void list_auth(const char *who, unsigned int domid)
{
	struct xen_sysctl_tmem_op op = { 0 };
	char text[UUID_LEN + 1];
	unsigned int nr;
	int err;

	for (nr = 0; ; nr++) {
		op.cmd = XEN_SYSCTL_TMEM_OP_GET_AUTH;
		op.domid = domid;
		op.nr = nr;
		err = control(&op, NULL);
		if (err)
			break;
		print_uuid(text, op.uuid);
		printf(json ? "%s\"%s\"" : "%s%s\n",
		       json ? nr ? ", " : "[" : "", text);
	}
	if (err != ENOENT)
		control_failed(err, who);
	if (json)
		printf(nr ? "]\n" : "[]\n");
}

static int cmd_auth(int argc, char **argv)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_SET_AUTH };
	const char *uuid = to_remove ?: argv[1];
	uint64_t parsed[2];
	int err;

	if (argc < 1 || argc > (to_remove ? 1 : 2))
		die(USAGE, "auth needs a domain, and may have one uuid");
	if (!uuid) {
		list_auth(argv[0], domain_of(argv[0]));
		return OK;
	}
	uuid_of(parsed, uuid);
	memcpy(op.uuid, parsed, sizeof(parsed));
	op.flags = to_remove ? 0 : XEN_SYSCTL_TMEM_AUTH;
	op.domid = domain_of(argv[0]);
	err = control(&op, NULL);
	if (err == ENOENT)
		die(NOT_FOUND, "%s is not authorised for %s", argv[0], uuid);
	if (err == ENOSPC)
		die(FAILED, "%s is authorised for as many pools as it can be: use --remove first",
		    argv[0]);
	if (err)
		control_failed(err, argv[0]);
	return OK;
}

static int freeze(uint32_t cmd, int argc, char **argv)
{
	struct xen_sysctl_tmem_op op = { .cmd = cmd };

	if (argc != 1)
		die(USAGE, "which domain, or 'all'?");
	op.domid = !strcmp(argv[0], "all") ? XEN_SYSCTL_TMEM_ALL :
		   domain_of(argv[0]);
	must_control(&op, argv[0]);
	return OK;
}

static int cmd_freeze(int argc, char **argv)
{
	return freeze(XEN_SYSCTL_TMEM_OP_FREEZE, argc, argv);
}

static int cmd_thaw(int argc, char **argv)
{
	return freeze(XEN_SYSCTL_TMEM_OP_THAW, argc, argv);
}

static int cmd_flush(int argc, char **argv)
{
	struct xen_sysctl_tmem_op op;
	uint64_t want, done = 0;

	if (argc != 1)
		die(USAGE, "flush needs a size, like 512M");
	want = size_of("flush", argv[0]);
	/* Xen does a part at a time */
	do {
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_FLUSH, .kib = want - done,
		};
		must_control(&op, "flush");
		done += op.kib;
	} while (!(op.flags & XEN_SYSCTL_TMEM_DONE) && done < want);
	printf(json ? "{\"flushed_kib\": %" PRIu64 "}\n" : "%" PRIu64 " KiB\n",
	       done);
	return OK;
}

static int cmd_freeable(int argc, char **argv)
{
	if (argc)
		die(USAGE, "freeable takes no argument, but there is '%s'",
		    argv[0]);
	printf(json ? "{\"freeable_kib\": %" PRIu64 "}\n" : "%" PRIu64 " KiB\n",
	       freeable_kib());
	return OK;
}

static const struct {
	const char *name, *arguments, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "list", "", "what each domain and shared pool has, and may have",
	  cmd_list },
	{ "top", "[SECONDS]", "the same, live", cmd_top },
	{ "set", "DOMAIN|UUID SETTING...",
	  "weight=N, cap=SIZE|none, min=SIZE, compress=on|off", cmd_set },
	{ "auth", "DOMAIN [[--remove] UUID]",
	  "list, add or remove shared pools that it may join", cmd_auth },
	{ "freeze", "DOMAIN|all", "take no new pages", cmd_freeze },
	{ "thaw", "DOMAIN|all", "take new pages again", cmd_thaw },
	{ "flush", "SIZE", "drop so much ephemeral memory", cmd_flush },
	{ "freeable", "", "how much ephemeral memory there is", cmd_freeable },
};

#define NR_COMMANDS	(sizeof(commands) / sizeof(*commands))

static void usage(FILE *f)
{
	size_t i;

	fprintf(f, "usage: tmemctl [--json] COMMAND [ARGUMENT...]\n\n");
	for (i = 0; i < NR_COMMANDS; i++)
		fprintf(f, "  %-8s %-25s %s\n", commands[i].name,
			commands[i].arguments, commands[i].help);
	fprintf(f, "\nDOMAIN is an id or a name; SIZE is in KiB, or like 512M. See tmemctl(8).\n");
}

static int run(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		if (strcmp(argv[0], commands[i].name))
			continue;
		if (to_remove && commands[i].run != cmd_auth)
			die(USAGE, "%s has no --remove", argv[0]);
		xen_open();
		return commands[i].run(argc - 1, argv + 1);
	}
	die(USAGE, "unknown command '%s': see tmemctl --help", argv[0]);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "remove", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int c, status;

	while ((c = getopt_long(argc, argv, "jhr:", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'r':
			to_remove = optarg;
			break;
		case 'h':
			usage(stdout);
			return OK;
		default:
			usage(stderr);
			return USAGE;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return USAGE;
	}
	status = run(argc - optind, argv + optind);
	if (fflush(stdout) || ferror(stdout))
		die(FAILED, "cannot write: %s", strerror(errno));
	return status;
}
