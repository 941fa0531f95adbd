// SPDX-License-Identifier: GPL-2.0
/*
 * What each command of tmemctl does; the table of them is at the end
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tmemctl.h"

/*
 * Calls
 */

/* @who: a domain, a pool, or a command that is about neither */
static __attribute__((noreturn)) void control_failed(int err, const char *who)
{
	switch (err) {
	case ESRCH:
		die(NOT_FOUND, "%s: no such domain, or it has no tmem", who);
	case ENODEV:
		die(NO_TMEM, "tmem is off: boot Xen with 'tmem' on its command line");
	case ENOSYS:
	case EOPNOTSUPP:
		die(NO_TMEM, "this Xen has no tmem: boot one that was built with CONFIG_TMEM=y");
	case EPERM:
		die(NO_TMEM, "this domain may not control tmem: run tmemctl in dom0");
	case EACCES:
		die(NO_TMEM, "not allowed: run tmemctl in dom0, and one built for this Xen (it has version %#x)",
		    transport.version);
	default:
		die(FAILED, "%s: %s", who, strerror(err));
	}
}

static void must_control(struct xen_sysctl_tmem_op *op, const char *who)
{
	int err = transport.control(op, NULL);

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
 * Clients
 */

/* Return: whether the domain is still there */
static bool read_domain(struct client *c)
{
	int err = transport.memory_of(c->op.domid, &c->memory);
	char *name;

	if (err == ESRCH)
		return false;
	if (err)
		control_failed(err, "list");
	name = transport.name_of(c->op.domid);
	snprintf(c->name, sizeof(c->name), "%s", name ?: "");
	free(name);
	return true;
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
		err = transport.control(&c[n].op, &c[n].stats);
		if (err == ESRCH && !pools) {	/* no more domains */
			pools = true;
			next = 0;
		} else if (err == ENOENT && pools) {
			break;
		} else if (err) {
			control_failed(err, "list");
		} else if (pools) {
			print_uuid(c[n].name, c[n].op.uuid);
			next++;
			n++;
		} else {
			next = c[n].op.domid + 1;
			n += read_domain(&c[n]);
		}
	}
	return n;
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
	    transport.has_names() ? " has tmem" :
	    ", as no xenstored knows names: give the id");
}

/*
 * list, top
 */

static int cmd_list(int argc, char **argv)
{
	static struct client c[NR_CLIENTS];
	int n;

	if (argc)
		die(USAGE, "list takes no argument, but there is '%s'", argv[0]);
	n = read_clients(c);
	if (json)
		show_json(c, n);
	else
		show_table(c, n);
	return OK;
}

static void take_sample(struct sample *s)
{
	s->time = now();
	s->freeable = freeable_kib();
	s->n = read_clients(s->clients);
}

static int cmd_top(int argc, char **argv)
{
	static struct sample samples[2];
	struct sample *new = &samples[0], *old = &samples[1], *tmp;
	bool screen = !number && isatty(0) && isatty(1);
	double seconds = 2;
	enum event event;

	if (json)
		die(USAGE, "top has no --json: use list");
	if (argc > 1)
		die(USAGE, "top takes one argument at most, the seconds, but there is '%s'",
		    argv[1]);
	if (argc)
		seconds = seconds_of("top", argv[0]);
	take_sample(new);	/* needs no screen if it fails */
	if (screen)
		screen_on();
	do {
		/* Only a screen shows something before there are rates */
		if (screen || old->time) {
			show_top(new, old, seconds, screen);
			if (fflush(stdout) || ferror(stdout))
				return FAILED;
			if (number && !--number)
				return OK;
		}
		event = wait_until(new->time + seconds);
		if (event == TIME) {
			tmp = old;
			old = new;
			new = tmp;
			take_sample(new);
		}
	} while (event != STOP);
	return OK;
}

/*
 * set
 */

/* One of the settings of set, "NAME=VALUE" */
static void parse_setting(struct xen_sysctl_tmem_op *op, char *name)
{
	static const char valid[] =
		"weight=N, cap=SIZE|none, min=SIZE and compress=on|off";
	char *value = strchr(name, '=');

	if (!value)
		die(USAGE, "set: '%s' has no value: valid are %s", name, valid);
	*value++ = '\0';
	if (!strcmp(name, "weight")) {
		op->weight = number_of("weight", value);
		op->mask |= XEN_SYSCTL_TMEM_SET_WEIGHT;
	} else if (!strcmp(name, "cap")) {
		op->cap = size_of("cap", value, true);
		op->mask |= XEN_SYSCTL_TMEM_SET_CAP;
	} else if (!strcmp(name, "min")) {
		op->min = size_of("min", value, false);
		op->mask |= XEN_SYSCTL_TMEM_SET_MIN;
	} else if (!strcmp(name, "compress")) {
		if (!strcmp(value, "on"))
			op->flags |= XEN_SYSCTL_TMEM_COMPRESS;
		else if (strcmp(value, "off"))
			die(USAGE, "compress: '%s' is neither on nor off",
			    value);
		op->mask |= XEN_SYSCTL_TMEM_SET_COMPRESS;
	} else {
		die(USAGE, "set: unknown setting '%s': valid are %s", name,
		    valid);
	}
}

static int cmd_set(int argc, char **argv)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_SET };
	uint64_t uuid[2];
	int i, err;

	if (argc < 2)
		die(USAGE, "set needs a domain or the uuid of a shared pool, and weight=, cap=, min= or compress=");
	for (i = 1; i < argc; i++)
		parse_setting(&op, argv[i]);
	if (parse_uuid(uuid, argv[0])) {
		memcpy(op.uuid, uuid, sizeof(uuid));
		op.flags |= XEN_SYSCTL_TMEM_SHARED;
	} else {
		op.domid = domain_of(argv[0]);
	}
	err = transport.control(&op, NULL);
	if (err == ENOENT)
		die(NOT_FOUND, "%s: no such shared pool", argv[0]);
	if (err)
		control_failed(err, argv[0]);
	return OK;
}

/*
 * auth
 */

static void list_auth(const char *who, unsigned int domid)
{
	static uint64_t uuids[NR_CLIENTS][2];
	char text[UUID_LEN + 1];
	int i, n, err = 0;

	/* Print nothing before all is known: the domain may vanish */
	for (n = 0; n < NR_CLIENTS; n++) {
		struct xen_sysctl_tmem_op op = {
			.cmd = XEN_SYSCTL_TMEM_OP_GET_AUTH,
			.domid = domid, .nr = n,
		};

		err = transport.control(&op, NULL);
		if (err)
			break;
		memcpy(uuids[n], op.uuid, sizeof(op.uuid));
	}
	if (err && err != ENOENT)
		control_failed(err, who);
	for (i = 0; i < n; i++) {
		print_uuid(text, uuids[i]);
		printf(json ? "%s\"%s\"" : "%s%s\n",
		       json ? i ? ", " : "[" : "", text);
	}
	if (json)
		printf(n ? "]\n" : "[]\n");
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
	uuid_of(to_remove ? "--remove" : "auth", parsed, uuid);
	memcpy(op.uuid, parsed, sizeof(parsed));
	op.flags = to_remove ? 0 : XEN_SYSCTL_TMEM_AUTH;
	op.domid = domain_of(argv[0]);
	err = transport.control(&op, NULL);
	if (err == ENOENT)
		die(NOT_FOUND, "%s is not authorised for %s", argv[0], uuid);
	if (err == ENOSPC)
		die(FAILED, "%s is authorised for as many pools as it can be: use --remove first",
		    argv[0]);
	if (err)
		control_failed(err, argv[0]);
	return OK;
}

/*
 * drain, undrain
 */

#define LOOKS_PER_SECOND	10

/* The domain that is asked to bring its pages back, or -1 */
static int draining = -1;

static void ask_no_more(void)
{
	if (draining >= 0)
		transport.drain(draining, false);
	draining = -1;
}

static void ask(const char *who, unsigned int domid, bool on)
{
	int err = transport.drain(domid, on);

	if (err == ENOTCONN)
		die(FAILED, "%s: a domain is asked by xenstore, and no xenstored runs here",
		    who);
	if (err)
		die(FAILED, "%s: xenstore: %s", who, strerror(err));
}

static uint64_t persistent_pages(const char *who, unsigned int domid)
{
	struct xen_sysctl_tmem_op op = {
		.cmd = XEN_SYSCTL_TMEM_OP_GET, .domid = domid,
	};
	struct xen_sysctl_tmem_stats stats;
	int err = transport.control(&op, &stats);

	if (!err && op.domid != domid)	/* it is the next one */
		err = ESRCH;
	if (err)
		control_failed(err, who);
	return stats.pers_pages;
}

/*
 * Until it has none, or has not got below its lowest number for @seconds.  The
 * hypervisor tells nobody when the number changes, so look again and again; and
 * not before the guest may have heard that it is asked.
 */
static void wait_for_drain(const char *who, unsigned int domid, double seconds)
{
	uint64_t pages, lowest = UINT64_MAX;
	unsigned int looks = 0;

	do {
		if (wait_until(now() + 1.0 / LOOKS_PER_SECOND) == STOP) {
			ask_no_more();
			end_by_signal();
		}
		pages = persistent_pages(who, domid);
		show_progress(who, pages * PAGE_KIB);
		if (pages < lowest) {
			lowest = pages;
			looks = 0;
		} else if (++looks >= seconds * LOOKS_PER_SECOND) {
			die(FAILED, "%s: %" PRIu64 " persistent pages (%" PRIu64 " MiB) are left, and for %g s the number has not fallen: give the domain memory ('xl mem-set') or swap; a kernel that does not know control/tmem-drain brings none back",
			    who, pages, pages * PAGE_KIB >> 10, seconds);
		}
	} while (pages);
	screen_off();
}

static int cmd_drain(int argc, char **argv)
{
	double seconds = 30;
	unsigned int domid;

	if (argc < 1 || argc > 2)
		die(USAGE, "drain needs a domain, and may have the seconds that its pages may take to get fewer");
	if (argc > 1)
		seconds = seconds_of("drain", argv[1]);
	domid = domain_of(argv[0]);
	persistent_pages(argv[0], domid);	/* is it there? */
	catch_signals();
	atexit(ask_no_more);			/* whatever goes wrong */
	draining = domid;
	ask(argv[0], domid, true);
	wait_for_drain(argv[0], domid, seconds);
	draining = -1;
	return OK;
}

static int cmd_undrain(int argc, char **argv)
{
	unsigned int domid;

	if (argc != 1)
		die(USAGE, "undrain needs one argument: a domain");
	domid = domain_of(argv[0]);
	persistent_pages(argv[0], domid);
	ask(argv[0], domid, false);
	return OK;
}

/*
 * The others
 */

static int freeze(const char *name, uint32_t cmd, int argc, char **argv)
{
	struct xen_sysctl_tmem_op op = { .cmd = cmd };

	if (argc != 1)
		die(USAGE, "%s needs one argument: a domain, or 'all'", name);
	op.domid = !strcmp(argv[0], "all") ? XEN_SYSCTL_TMEM_ALL :
		   domain_of(argv[0]);
	must_control(&op, argv[0]);
	return OK;
}

static int cmd_freeze(int argc, char **argv)
{
	return freeze("freeze", XEN_SYSCTL_TMEM_OP_FREEZE, argc, argv);
}

static int cmd_thaw(int argc, char **argv)
{
	return freeze("thaw", XEN_SYSCTL_TMEM_OP_THAW, argc, argv);
}

static int cmd_flush(int argc, char **argv)
{
	struct xen_sysctl_tmem_op op;
	uint64_t want, done = 0;

	if (argc != 1)
		die(USAGE, "flush needs a size, like 512M");
	want = size_of("flush", argv[0], false);
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

/*
 * The completion takes the arguments from here: for DOMAIN, UUID and SETTING it
 * offers what there is, words in small letters and options as they are.
 */
const struct command commands[] = {
	{ "list", "[--json]", "what domains and pools have", cmd_list },
	{ "top", "[--number N] [SECONDS]", "what they do, live", cmd_top },
	{ "set", "DOMAIN|UUID SETTING...", "limits, shares, compression",
	  cmd_set },
	{ "auth", "DOMAIN [[--remove] UUID] [--json]",
	  "shared pools that it may join", cmd_auth },
	{ "freeze", "DOMAIN|all", "take no new pages", cmd_freeze },
	{ "thaw", "DOMAIN|all", "take new pages again", cmd_thaw },
	{ "drain", "DOMAIN [SECONDS]", "bring persistent pages back",
	  cmd_drain },
	{ "undrain", "DOMAIN", "it may put them again", cmd_undrain },
	{ "flush", "SIZE [--json]", "drop ephemeral memory", cmd_flush },
	{ "freeable", "[--json]", "how much of it there is", cmd_freeable },
	{ 0 }
};
