# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts in this directory share. A script begins with
#
#	#!/bin/bash
#	. "$(dirname "$0")/lib.sh"
#
# and then runs in the repository's root with errexit, nounset and pipefail,
# with $TOP (the root), $BUILD (build/, absolute) and $JOBS set, with the names
# of the sources ($LINUX_NAME, $LINUX_VERSION, $LINUX_TREE, and the same for
# Xen), and has:
#
#   die MESSAGE...	say why on stderr, exit 1
#   our_files PATHSPEC...
#			those of our files below here that match. Symbolic links
#			are left out: they stand for other files of ours
#   overlay_of linux|xen
#			sets $name, what that source is called in build/, $from,
#			where our files for it are here, $not_ours, which of
#			those are not, as our_files wants it, and where what is
#			made of it goes: $pristine, the source as it is, $tree,
#			with our files, and $patches
#   kbuild TREE OUT TARGET...	make of a kernel, and
#   xbuild TREE OUT TARGET...	of the hypervisor
#   kconfig TREE OUT FRAGMENT...
#			OUT/.config: tinyconfig, and what these say
#   source_package NAME DIR	the source of a Debian package, with its patches
#   binary_package NAME DIR	what is in a Debian package, unpacked. Both are
#			of $RELEASE, whatever release this host is
#   apt_sources		$BUILD/apt/list becomes the sources.list of $RELEASE
#   pinned CMD...	apt-cache or apt-get on those, after apt_sources
#   need PACKAGE...	install the Debian packages that are missing (as root or
#			by sudo; without either: list them, exit 1)
#   space MIB		exit 1 with a clear message unless build/ has that room
#   lock NAME		wait until no other make works on NAME. Held until this
#			script ends; the scripts it calls may take it again
#   step NAME CMD...	run CMD (a program or a function) with its output in
#			build/log/NAME.log. On stderr, so that stdout is for
#			results, a terminal shows what is running,
#			for how long, how long it took last time, and the log's
#			last line; a log gets one line at the start and one at
#			the end. Returns CMD's status; when that is not 0 the
#			end of the output and the log's path are shown. errexit
#			works in a function only if step is no condition:
#			'step ...', not 'step ... || ...'
#   start CMD...	CMD in the background, as $child: all of its processes
#			end when this script ends. Then: wait "$child"; child=
#   stop		end it, and all of them
#   CLEANUP+=(PATH)	removed when the script ends, however it ends. A file
#			that must be whole or absent is made under a temporary
#			name, which is listed here, and then renamed. (A step's
#			CMD is a subshell: list the name before the step)
#
# Ctrl-C, or a kill of the script, also ends the step that is running.

set -euo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # JOBS is for the scripts
BUILD=$TOP/build JOBS=$(nproc)
# The versions that all of this is for, and nowhere else in scripts/
LINUX_NAME=linux-6.12 XEN_NAME=xen-4.17
# shellcheck disable=SC2034 # for the scripts
LINUX_VERSION=${LINUX_NAME#*-} LINUX_TREE=$BUILD/$LINUX_NAME \
	XEN_VERSION=${XEN_NAME#*-} XEN_TREE=$BUILD/$XEN_NAME
export LC_ALL=C
# Objects that one clone of this repository has compiled serve every other, too
export CCACHE_BASEDIR=$TOP CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
# Do not run the preprocessor for each file that is not in the cache
export CCACHE_DEPEND=1
mkdir -p "$BUILD/log"
cd "$TOP"

CLEANUP=()
child= ticker=

# Each process ends what it has started, which takes some seconds at most
stop()
{
	[ -n "$child" ] || return 0
	kill -TERM -- "-$child" 2>/dev/null || :
	for _ in {1..300}; do
		kill -0 -- "-$child" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL -- "-$child" 2>/dev/null || :
	wait "$child" 2>/dev/null || :
	child=
}

at_exit()
{
	[ -z "$ticker" ] || kill "$ticker" 2>/dev/null || :
	stop
	[ ${#CLEANUP[@]} -eq 0 ] || rm -rf -- "${CLEANUP[@]}"
}
trap at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

space()
{
	local avail
	avail=$(df --output=avail -m "$BUILD" | tail -n 1)
	[ "$avail" -ge "$1" ] ||
		die "$BUILD needs $1 MiB of free disk space," \
		    "there are only ${avail// /}"
}

lock()
{
	local fd

	case ":${TMEM_LOCKS-}:" in *":$1:"*) return ;; esac
	exec {fd}>"$BUILD/.lock.$1"
	if ! flock -n "$fd"; then
		echo "waiting: another make is working on '$1'" >&2
		flock "$fd"
	fi
	export TMEM_LOCKS=${TMEM_LOCKS-}:$1
}

# The time that a step took last, in seconds
last_time()
{
	[ ! -f "$BUILD/.times" ] ||
		awk -v n="$1" '$2 == n { print $1 }' "$BUILD/.times"
}

save_time()
{
	local tmp=$BUILD/.times.$$

	{
		[ ! -f "$BUILD/.times" ] ||
			awk -v n="$1" '$2 != n' "$BUILD/.times"
		echo "$2 $1"
	} >"$tmp"
	mv "$tmp" "$BUILD/.times"
}

show_progress()
{
	local name=$1 log=$2 last=$3 start=$SECONDS line cols

	while :; do
		cols=$(tput cols 2>/dev/null || echo 80)
		line="$name: $((SECONDS - start)) s"
		[ -z "$last" ] || line+=" (last time $last s)"
		line+="  $(tail -c 300 "$log" | tr -d '\r' | tail -n 1 |
			tr -cd '[:print:]')"
		printf '\r\033[K%s' "${line:0:cols - 1}" >&2
		sleep 1
	done
}

# CMD as a process group of its own, $child, all of which ends with this script
start()
{
	set -m
	"$@" </dev/null &
	child=$!
	set +m
}

step()
{
	local name=${1// /-} start=$SECONDS status=0 log last

	shift
	log=$BUILD/log/$name.log
	last=$(last_time "$name")
	: >"$log"
	start "$@" >"$log" 2>&1
	if [ -t 2 ]; then
		show_progress "$name" "$log" "$last" &
		ticker=$!
	else
		echo "$name ...${last:+ (last time $last s)}" >&2
	fi
	wait "$child" || status=$?
	child=
	if [ -n "$ticker" ]; then
		kill "$ticker"
		wait "$ticker" 2>/dev/null || :
		ticker=
		printf '\r\033[K' >&2
	fi
	if [ $status -eq 0 ]; then
		echo "$name: done in $((SECONDS - start)) s" >&2
		save_time "$name" $((SECONDS - start))
	else
		{
			echo "$name: FAILED ($status)" \
				"after $((SECONDS - start)) s"
			tail -n 25 "$log" | sed 's/^/    | /'
			echo "    (all of it: ${log#"$TOP"/})"
		} >&2
	fi
	return $status
}

apt()
{
	local sudo=

	[ "$(id -u)" -eq 0 ] || sudo=sudo
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy \
		-o DPkg::Lock::Timeout=600 "$@"
}

# The package lists may be missing or name versions that are gone
apt_install()
{
	apt install --no-install-recommends "$@" ||
		{ apt update && apt install --no-install-recommends "$@"; }
}

our_files()
{
	local name

	git ls-files --cached --others --exclude-standard -- "$@" |
	while read -r name; do
		[ ! -f "$name" ] || [ -h "$name" ] || echo "$name"
	done | sort -u
}

# The engine without its ports and KUnit tests: Linux and Xen have it in common
engine_files()
{
	find "$TOP/lib/tmem" -maxdepth 1 -name '*.[ch]' ! -name '*_kunit.c' |
		sort
}

# shellcheck disable=SC2034 # all of it is for the scripts
overlay_of()
{
	case $1 in
	linux)
		name=$LINUX_NAME from=.
		not_ours=(':!/Makefile' ':!/COPYING' ':!/README.md'
			  ':!/DESIGN.md' ':!/HACKING.md' ':!/scripts' ':!/xen'
			  ':!/tools/tmemctl' ':!/tools/testing/tmem/corpus'
			  ':!/.*') ;;
	xen)
		name=$XEN_NAME from=xen not_ours=(.) ;;
	*)
		die "unknown source '$1': valid are linux, xen" ;;
	esac
	pristine=$BUILD/src/$name tree=$BUILD/$name patches=$BUILD/patches/$name
}

# What is built at another time, by another user or elsewhere is the same bytes
kbuild()
{
	make -C "$1" O="$2" CC="ccache gcc" -j "$JOBS" \
		KBUILD_BUILD_TIMESTAMP=@1 KBUILD_BUILD_USER=tmem \
		KBUILD_BUILD_HOST=tmem "${@:3}"
}

kconfig()
{
	kbuild "$1" "$2" tinyconfig
	(cd "$2" && "$1/scripts/kconfig/merge_config.sh" -m .config "${@:3}")
	kbuild "$1" "$2" olddefconfig
}

xbuild()
{
	make -C "$1/xen" O="$2" CC="ccache gcc" KCONFIG_CONFIG="$2/.config" \
		-j "$JOBS" "${@:3}"
}

# The release that the images, Xen and LZ4 come from, whatever release this host
# is; and Linux, unless this host has its source installed
RELEASE=bookworm

# pinned CMD... - apt-get or apt-cache, on the packages of $RELEASE
pinned()
{
	APT_CONFIG=$BUILD/apt/conf "$@"
}

# "MIRROR SUITE" for each part of $RELEASE, from where this host gets the same
# part of its own release. That Linux is in $RELEASE-security, but in
# $RELEASE-backports, too, for a host without a mirror of the former
suites()
{
	apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
		'Identifier: Packages' 'Origin: Debian' 'Component: main' |
	sort -u | awk -v release="$RELEASE" '
		{ sub(/^[^-]*/, release, $2) }
		$2 == release || $2 == release "-updates"
		$2 == release { backports[$1 " " release "-backports"] }
		$2 == release "-security" { print; security = 1 }
		END { if (!security) for (line in backports) print line }' |
	sort -u
}

# The lists of these packages, apart from the host's own, once; and
# $BUILD/apt/list says where they come from, as sources.list does. A subshell:
# for the lock
apt_sources()
(
	local dir=$BUILD/apt mirrors suite
	local key=/usr/share/keyrings/debian-archive-keyring.gpg

	lock apt
	[ ! -f "$dir/list" ] || exit 0
	need debian-archive-keyring
	# apt knows the suites only when it has this host's lists
	mirrors=$(suites)
	[ "$mirrors" ] || { apt update; mirrors=$(suites); }
	[ "$mirrors" ] ||
		die "no mirror of Debian in this host's package sources"
	# Not download, where a caller is
	rm -rf "$dir"/{parts,lists,cache}
	mkdir -p "$dir"/{parts,lists/partial,cache/archives/partial}
	cat >"$dir/conf" <<-END
		Dir::Etc::SourceList "/dev/null";
		Dir::Etc::SourceParts "$dir/parts";
		Dir::State::Lists "$dir/lists";
		Dir::State::Status "/dev/null";
		Dir::Cache "$dir/cache";
		APT::Sandbox::User "root";
	END
	while read -r suite; do
		printf '%s [signed-by=%s] %s main\n' deb "$key" "$suite" \
			deb-src "$key" "$suite"
	done <<<"$mirrors" >"$dir/parts/release.list"
	pinned apt-get -q update
	grep '^deb ' "$dir/parts/release.list" >"$dir/list.tmp"
	mv "$dir/list.tmp" "$dir/list"
)

# newest NAME show|showsrc CMD... - CMD... NAME=VERSION, for the newest VERSION
# that works: what the lists name may be gone by now, or not there yet
newest()
{
	local name=$1 show=$2 version

	shift 2
	apt_sources
	for _ in {1..2}; do
		for version in $(pinned apt-cache "$show" "$name" |
				sed -n 's/^Version: //p' | sort -rVu); do
			! pinned "$@" "$name=$version" || return 0
		done
		pinned apt-get -q update
	done
	die "$name cannot be downloaded from any of these:"$'\n'"$(
		cat "$BUILD/apt/list")"
}

# source_package NAME DIR - unpacked and patched, as the distribution has it
source_package()
{
	local dir=$BUILD/apt/download/$1

	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$dir" && newest "$1" showsrc apt-get -q source --download-only)
	dpkg-source -x "$dir"/*.dsc "$2"
	rm -r "$dir"
}

# binary_package NAME DIR - what is in it, not installed
binary_package()
{
	local dir=$BUILD/apt/download/$1

	rm -rf "$dir"
	mkdir -p "$dir" "$2"
	(cd "$dir" && newest "$1" show apt-get -q download)
	dpkg-deb -x "$dir"/*.deb "$2"
	rm -r "$dir"
}

need()
{
	local package missing=()

	for package; do
		dpkg-query -W -f='${db:Status-Status}\n' "$package" \
			2>/dev/null | grep -qx installed ||
			missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		# A password can only be asked for on a terminal
		sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; } ||
			die "these Debian packages are missing, and neither" \
			    "root nor sudo is there to install them:" \
			    "${missing[*]}"
	fi
	step install-packages apt_install "${missing[@]}"
}
