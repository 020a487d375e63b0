#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2046,SC2086
# PostgreSQL under different rates of transactions, between package work, compilation and housekeeping.
. /root/lib.sh
mkdir -p /srv /var/backups

as_postgres() { runuser -u postgres -- "$@"; }
sql() { as_postgres psql -qAtX -d pgbench -c "$1"; }

load() {
    as_postgres createdb pgbench && as_postgres pgbench -q -i -s "$SCALE" pgbench
}

oltp() {        # oltp UNITS RATE: transactions a second, 0 = as fast as it goes
    local limit=()
    [ "$2" = 0 ] || limit=(-R "$2")
    as_postgres pgbench -n -c "$CLIENTS" -T "$(units "$1")" --random-seed=42 "${limit[@]}" pgbench
}

install_packages() { apt install --no-download $PACKAGES; }

build() {       # a source tree, its compilation, its history, an archive of it, and a restore
    local tree=/srv/tree i
    mkdir -p $tree && cd $tree || return
    for i in $(seq 24); do
        printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n' > part$i.c
        printf 'int part%d(const char *s) { char *t = strdup(s); int n = printf("%%s", t); free(t); return n + %d; }\n' \
            "$i" "$i" >> part$i.c
    done
    { for i in $(seq 24); do echo "int part$i(const char *);"; done
      echo 'int main(void) { int n = 0;'
      for i in $(seq 24); do echo "n += part$i(\"\");"; done
      echo 'return n == 0; }'; } > main.c
    printf 'program: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\tcc -g -o $@ $^\n%%.o: %%.c\n\tcc -g -O2 -c -o $@ $<\n' > Makefile
    make -s && ./program || return
    cp -a /usr/share/doc /usr/share/zoneinfo . &&
    git init -q && git add -A && git -c user.name=job -c user.email=job@vm commit -q -m tree && git gc -q || return
    tar -C /srv -czf /var/backups/tree.tar.gz tree && rm -rf $tree &&
    mkdir -p /srv/restored && tar -C /srv/restored -xzf /var/backups/tree.tar.gz
}

oltp_and() {    # oltp_and UNITS RATE command...: transactions while something else runs
    local units=$1 rate=$2 status=0
    shift 2
    oltp "$units" "$rate" & local client=$!
    "$@" || status=$?
    wait $client && return $status
}

dump() { as_postgres pg_dump -Fc -Z1 pgbench > /var/backups/pgbench.dump; }
vacuum() { sql 'VACUUM (ANALYZE, VERBOSE)' && sql CHECKPOINT; }

remove_packages() {
    rm -rf /srv/restored /var/backups/tree.tar.gz && apt purge --auto-remove $PACKAGES
}

reinstall() { apt install --no-download git sqlite3; }

reorganise() {  # what a housekeeping job does: rewrite, drop, truncate, rotate
    sql 'CREATE TABLE archive AS SELECT * FROM pgbench_history' && sql 'TRUNCATE pgbench_history' &&
    sql 'REINDEX TABLE pgbench_accounts' && sql 'VACUUM FULL pgbench_branches, pgbench_tellers' &&
    sql 'DROP TABLE archive' && sql CHECKPOINT && logrotate -f /etc/logrotate.conf &&
    rm -f /var/backups/pgbench.dump && apt-get clean
}

pg_isready -q -t 60 || { report start postgres "did not come up"; report stop postgres status=1; }
report stat boot $(cat /sys/block/vda/stat)
phase settle         "idle after boot"                                           idle 0.5
phase load           "pgbench -i -s $SCALE"                                      load
phase oltp-low       "pgbench -c $CLIENTS -R 5"                                  oltp 2 5
phase install        "apt-get install $PACKAGES"                                 install_packages
phase oltp-mid       "pgbench -c $CLIENTS -R 20"                                 oltp 2.5 20
phase build          "compile, git commit, tar, untar"                           build
phase trim-first     "fstrim -v /"                                               trim
phase oltp-dump      "pgbench -c $CLIENTS -R 10 while pg_dump runs"              oltp_and 2 10 dump
phase vacuum         "VACUUM ANALYZE, CHECKPOINT"                                vacuum
phase idle-cron      "idle: journal, timers, a health check each minute"         idle 2
phase purge          "rm of the restored tree, apt-get purge of the packages"    remove_packages
phase oltp-full      "pgbench -c $CLIENTS, no rate limit"                        oltp 2 0
phase oltp-install   "pgbench -c $CLIENTS -R 5 while apt-get installs git"       oltp_and 1.5 5 reinstall
phase reorganise     "REINDEX, VACUUM FULL, drops, logrotate, apt-get clean"     reorganise
phase trim-second    "fstrim -v /"                                               trim
phase idle-end       "idle: journal, timers, a health check each minute"         idle 1.5
finish
