// SPDX-License-Identifier: GPL-2.0
/*
 * The command line of tmemctl: options, and the values of arguments
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tmemctl.h"

bool json;
const char *to_remove;
uint32_t number;

void die(int status, const char *fmt, ...)
{
	va_list ap;

	screen_off();
	fprintf(stderr, "tmemctl: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

bool parse_uuid(uint64_t uuid[2], const char *s)
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

void uuid_of(const char *what, uint64_t uuid[2], const char *s)
{
	if (!parse_uuid(uuid, s))
		die(USAGE, "%s: '%s' is not a uuid, like 00112233-4455-6677-8899-aabbccddeeff",
		    what, s);
	if ((uuid[0] & uuid[1]) == ~0ull)
		die(USAGE, "%s: '%s': a pool with this uuid is never shared",
		    what, s);
}

/* In KiB, where UINT64_MAX means "none"; a size is less than that */
uint64_t size_of(const char *what, const char *s, bool may_be_none)
{
	static const char units[] = "kmgt";
	const char *unit = NULL;
	uint64_t n, max;
	char *end;
	int shift;

	if (may_be_none && !strcmp(s, "none"))
		return UINT64_MAX;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (isdigit((unsigned char)*s) && (!*end || !end[1]))
		unit = *end ? strchr(units, tolower((unsigned char)*end)) :
			      units;
	if (!unit)
		die(USAGE, "%s: '%s' is not a size: valid is a number of KiB, or one with K, M, G or T, like 512M%s",
		    what, s, may_be_none ? ", or none" : "");
	shift = 10 * (unit - units);
	max = (UINT64_MAX - 1) >> shift;
	if (errno || n > max)
		die(USAGE, "%s: '%s' is too much: valid is up to %" PRIu64 "%c",
		    what, s, max, toupper((unsigned char)*unit));
	return n << shift;
}

uint32_t number_of(const char *what, const char *s)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (!isdigit((unsigned char)*s) || *end || errno || !n ||
	    n > UINT32_MAX)
		die(USAGE, "%s: '%s' is not a number from 1 to %u", what, s,
		    UINT32_MAX);
	return n;
}

double seconds_of(const char *what, const char *s)
{
	char *end;
	double n = strtod(s, &end);

	if (*end || !(n >= 0.1 && n <= 3600))
		die(USAGE, "%s: '%s' is not a number of seconds from 0.1 to 3600",
		    what, s);
	return n;
}

/* The completion takes the commands and their arguments from here */
static void usage(FILE *f)
{
	static const char row[] = "  %-8s %-33s %s\n";
	const struct command *c;

	fprintf(f, "usage: tmemctl [OPTION...] COMMAND [ARGUMENT...]\n\n");
	for (c = commands; c->name; c++)
		fprintf(f, row, c->name, c->arguments, c->help);
	fprintf(f, "\n"
		"  -j, --json           print JSON\n"
		"  -r, --remove UUID    the domain may no longer join that pool\n"
		"  -n, --number N       end after N screens of top\n"
		"  -h, --help           print this\n"
		"\n"
		"DOMAIN is an id or a name.  SIZE is in KiB, or like 512M.\n"
		"SETTING is weight=N, cap=SIZE|none, min=SIZE or compress=on|off.\n"
		"See tmemctl(8).\n");
}

static __attribute__((noreturn)) void unknown_command(const char *name)
{
	const struct command *c;

	fprintf(stderr, "tmemctl: unknown command '%s': valid are", name);
	for (c = commands; c->name; c++)
		fprintf(stderr, "%s %s", c == commands ? "" : ",", c->name);
	fprintf(stderr, "\n");
	exit(USAGE);
}

static void open_transport(void)
{
	int err = transport.open();

	if (err == EACCES || err == EPERM)
		die(NO_TMEM, "%s: %s: run it as root", transport.device,
		    strerror(err));
	if (err == ENOMEM)
		die(FAILED, "%s: %s", transport.device, strerror(err));
	if (err)
		die(NO_TMEM, "%s: %s: this is not a dom0, run it there",
		    transport.device, strerror(err));
}

static int run(int argc, char **argv)
{
	const struct command *c;
	int status;

	for (c = commands; c->name && strcmp(c->name, argv[0]); c++)
		;
	if (!c->name)
		unknown_command(argv[0]);
	if (to_remove && !strstr(c->arguments, "--remove"))
		die(USAGE, "%s has no --remove: only auth has", c->name);
	if (number && !strstr(c->arguments, "--number"))
		die(USAGE, "%s has no --number: only top has", c->name);
	open_transport();
	status = c->run(argc - 1, argv + 1);
	transport.close();
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "remove", required_argument, NULL, 'r' },
		{ "number", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	int c, status;

	while ((c = getopt_long(argc, argv, "jhr:n:", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'r':
			to_remove = optarg;
			break;
		case 'n':
			number = number_of("--number", optarg);
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
