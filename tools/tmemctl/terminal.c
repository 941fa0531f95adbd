// SPDX-License-Identifier: GPL-2.0
/*
 * The screen of top, and the signals that end it
 */
#define _GNU_SOURCE	/* ppoll() */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "tmemctl.h"

static struct termios terminal;
static bool screen;
static sigset_t unblocked;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

void screen_off(void)
{
	if (!screen)
		return;
	screen = false;
	printf("\033[?25h\033[?7h\033[?1049l");	/* cursor, wrapping, screen */
	fflush(stdout);
	tcsetattr(0, TCSANOW, &terminal);
}

void screen_on(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal };
	struct termios raw;
	sigset_t blocked;
	size_t i;

	/* They wait for screen_wait(), which so misses none */
	sigemptyset(&blocked);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	tcgetattr(0, &terminal);
	screen = true;
	atexit(screen_off);
	raw = terminal;
	raw.c_lflag &= ~(ICANON | ECHO);
	tcsetattr(0, TCSANOW, &raw);
	printf("\033[?1049h\033[?7l\033[?25l");
}

int screen_rows(void)
{
	struct winsize size;

	return ioctl(1, TIOCGWINSZ, &size) || !size.ws_row ? 24 : size.ws_row;
}

/* Return: whether to go on */
bool screen_wait(double seconds)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	struct timespec time = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (long)seconds) * 1e9,
	};
	char key;

	if (ppoll(&in, 1, &time, &unblocked) > 0 &&
	    (read(0, &key, 1) != 1 || key == 'q'))
		return false;
	return !stop;
}
