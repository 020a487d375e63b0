#!/bin/bash
# shellcheck disable=SC1091,SC2012,SC2046,SC2086
# Updates, a compiler installed, three upstream sources compiled, committed, changed, compiled again, thrown away.
. /root/lib.sh
export CCACHE_DIR=/srv/ccache HOME=/root CC="ccache gcc"
mkdir -p /srv/src /srv/backup
printf '[user]\n\tname = job\n\temail = job@vm\n[init]\n\tdefaultBranch = main\n' > /root/.gitconfig

updates() { apt dist-upgrade --no-download -o Dpkg::Options::=--force-confold && echo "summary: $(grep -c ' upgrade ' /var/log/dpkg.log) packages upgraded"; }
tools() { apt install --no-download $PACKAGES; }
cleaned() { apt-get clean && apt autoremove --purge; }

unpack() {
    local archive
    for archive in /root/sources/*.orig.tar.*; do
        case $archive in *.asc) continue ;; esac
        tar -C /srv/src --no-same-owner -xf $archive || return
    done
    ls /srv/src
}

commit() {      # each source tree becomes a repository of its own
    local tree status=0
    for tree in /srv/src/*/; do
        cd $tree || return
        [ -d .git ] || git init -q
        git add -A && { git diff --cached --quiet || git commit -q -m "$1"; } || status=$?
    done
    return $status
}

make_lua() { cd /srv/src/lua* && make -s linux CC="$CC" && src/lua -v; }
make_lz4() { cd /srv/src/lz4* && make -s CC="$CC" CFLAGS=-O1 && make -s install PREFIX=/usr/local; }
make_bzip2() { cd /srv/src/bzip2* && make -s CC="$CC" && make -s install PREFIX=/usr/local; }

edits() {       # what a few hours of work leave: changed lines, a commit each, then what they touch built again
    local round file
    cd /srv/src/lua* || return
    for round in $(seq 6); do
        for file in $(ls src/*.c | awk -v round=$round 'NR % 11 == round'); do
            echo "/* round $round */" >> $file
        done
        git commit -q -a -m "round $round" && make -s linux CC="$CC" || return
        sleep 20
    done
    git gc -q
}

archive() { tar -C /srv -czf /srv/backup/src-$1.tar.gz src; }
branches() {    # switch between two versions of the tree, with a build of each from the cache
    cd /srv/src/lua* && git checkout -q -b old HEAD~4 && make -s clean && make -s linux CC="$CC" &&
    git checkout -q main && make -s clean && make -s linux CC="$CC" && ccache -s | head -n 5
}

report stat boot $(cat /sys/block/vda/stat)
phase settle      "idle after boot"                                               idle 0.5
phase updates     "apt-get dist-upgrade to the release's security and other updates" updates
phase tools       "apt-get install $PACKAGES"                                     tools
phase clean       "apt-get clean, autoremove --purge"                             cleaned
phase idle-1      "idle"                                                          idle $REST
phase unpack      "upstream sources of lua, lz4, bzip2 unpacked"                  unpack
phase commit      "git commit of each tree"                                       commit sources
phase lua         "lua compiled through ccache"                                   make_lua
phase lz4         "lz4 compiled, installed"                                       make_lz4
phase bzip2       "bzip2 compiled, tested, installed"                             make_bzip2
phase commit-2    "git commit of what the builds made"                            commit built
phase archive     "tar.gz of the trees"                                           archive 1
phase idle-2      "idle"                                                          idle $REST
phase edits       "six rounds of edits, commits and incremental builds; git gc"   edits
phase branches    "switch of branches, make clean, builds from the cache"         branches
phase archive-2   "tar.gz of the trees"                                           archive 2
phase remove      "rm of the trees and of the cache"                              rm -r /srv/src /srv/ccache
phase idle-3      "idle"                                                          idle $REST
phase trim        "fstrim -v /"                                                   trim
phase idle-end    "idle"                                                          idle 0.5
finish
