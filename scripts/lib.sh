# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts in this directory share. A script begins with
#
#	#!/bin/bash
#	. "$(dirname "$0")/lib.sh"
#
# and then runs in the repository's root with errexit, nounset and pipefail,
# with $TOP (the root), $BUILD (build/, absolute) and $JOBS set, and has:
#
#   die MESSAGE...	say why on stderr, exit 1
#   overlay_of linux|xen	sets $name, what that source is called in build/,
#			$from, where our files for it are here, and $not_ours,
#			which of those are not, as git ls-files wants it
#   source_package NAME DIR	the source of a Debian package, with its patches
#   binary_package NAME DIR	what is in a Debian package, unpacked
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
#   start CMD...	CMD in the background, as $child: all of its processes end
#			when this script ends. Then: wait "$child"; child=
#   stop		end it, and all of them
#   CLEANUP+=(PATH)	removed when the script ends, however it ends. What must
#			be whole or absent is made as a temporary name that is
#			listed here, and then renamed. (A step's CMD is a
#			subshell: list before the step)
#
# Ctrl-C, or a kill of the script, also ends the step that is running.

set -euo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # JOBS is for the scripts
BUILD=$TOP/build JOBS=$(nproc)
export LC_ALL=C
# What one clone of this repository has compiled serves every other, too
export CCACHE_BASEDIR=$TOP CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
mkdir -p "$BUILD/log"
cd "$TOP"

CLEANUP=()
child= ticker=

# Each process ends what it has started, and that takes some seconds, but no more
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
		die "$BUILD needs $1 MiB of free disk space, there are only ${avail// /}"
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
			echo "$name: FAILED ($status) after $((SECONDS - start)) s"
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

# shellcheck disable=SC2034 # all of it is for the scripts
overlay_of()
{
	case $1 in
	linux)
		name=linux-6.12 from=.
		not_ours=(':!/Makefile' ':!/README.md' ':!/scripts' ':!/xen'
			  ':!/tools/tmemctl' ':!/tools/testing/tmem/corpus'
			  ':!/.*') ;;
	xen)
		name=xen-4.17 from=xen not_ours=(.) ;;
	*)
		die "unknown source '$1': valid are linux, xen" ;;
	esac
}

# The lists of source packages, of wherever this host gets its packages from
apt_sources()
{
	local dir=$BUILD/apt

	mkdir -p "$dir/parts" "$dir/lists/partial"
	cat >"$dir/conf" <<-END
		Dir::Etc::SourceList "/dev/null";
		Dir::Etc::SourceParts "$dir/parts";
		Dir::State::Lists "$dir/lists";
		APT::Sandbox::User "root";
	END
	{
		cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list |
			sed -n 's/^deb /deb-src /p' >"$dir/parts/deb.list"
		cat /etc/apt/sources.list.d/*.sources |
			sed 's/^Types:.*/Types: deb-src/' >"$dir/parts/deb.sources"
	} 2>/dev/null || :
	APT_CONFIG=$dir/conf apt-get -q update
}

# source_package NAME DIR - unpacked and patched, as the distribution has it. The
# newest version that is listed may be gone, or not yet there
source_package()
{
	local version dir=$BUILD/apt/download

	[ -d "$BUILD/apt/parts" ] || apt_sources
	mkdir -p "$dir"
	for version in $(APT_CONFIG=$BUILD/apt/conf apt-cache showsrc "$1" |
			sed -n 's/^Version: //p' | sort -rVu); do
		(cd "$dir" && APT_CONFIG=$BUILD/apt/conf apt-get -q source \
			--download-only "$1=$version") || continue
		dpkg-source -x "$dir/${1}_${version#*:}.dsc" "$2"
		return
	done
	die "no source of $1 can be downloaded"
}

# Not installed. The newest version that is listed may be gone by now
binary_package()
{
	local deb=$2.deb

	mkdir -p "$2" "$deb"
	(cd "$deb" && { apt-get -q download "$1" ||
			{ apt update && apt-get -q download "$1"; }; })
	dpkg-deb -x "$deb"/*.deb "$2"
	rm -r "$deb"
}

need()
{
	local package missing=()

	for package; do
		dpkg-query -W -f='${db:Status-Status}\n' "$package" \
			2>/dev/null | grep -qx installed || missing+=("$package")
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
