#!/bin/bash
# shellcheck disable=SC1091,SC2046,SC2086,SC2153
# A database server from Monday 00:00 to Sunday 24:00. Each represented hour is one run of pgbench at that
# hour's rate and begins with a checkpoint; dumps, rotation and maintenance start at their hours beside it.
. /root/lib.sh
mkdir -p /var/backups/db

# Share of the best hour's rate in each hour of the day, in percent.
workday=(6 5 5 5 6 8 14 30 60 85 100 95 70 80 95 100 90 70 40 28 22 18 12 8)
weekend=(6 5 4 4 4 5 6 8 10 13 15 16 15 14 14 13 13 12 12 11 10 9 8 7)
days=(monday tuesday wednesday thursday friday saturday sunday)

as_postgres() { runuser -u postgres -- "$@"; }
sql() { as_postgres psql -qAtX -d pgbench -c "$1"; }

prepare() {
    as_postgres createdb pgbench && as_postgres pgbench -q -i -s $SCALE pgbench && sql CHECKPOINT
}

# The best hour's rate is what a guest under emulation keeps up with; on hardware it may be set higher.
hour_of_work() {        # hour_of_work PERCENT
    local rate
    rate=$(awk -v busy=$BUSY -v share=$1 'BEGIN { print busy * share / 100 }')
    as_postgres pgbench -n -c $CLIENTS -T $((UNIT - 1)) -R $rate pgbench
}

nightly_dump() {        # the last three are kept
    as_postgres pg_dump -Fc -Z1 pgbench > /var/backups/db/$1.part && mv /var/backups/db/$1.part /var/backups/db/$1 &&
    find /var/backups/db -type f -printf '%T@ %p\n' | sort -rn | awk 'NR > 3 { print $2 }' | xargs -r rm
}

maintain() {
    sql 'VACUUM (ANALYZE)' && sql 'REINDEX TABLE pgbench_accounts' &&
    sql "DELETE FROM pgbench_history WHERE mtime < now() - interval '$((UNIT * 24 * 5)) seconds'" && sql 'VACUUM pgbench_history'
}

day() {
    local number=$1 hour status=0 share beside=()
    for hour in $(seq 0 23); do
        until_hour $((number * 24 + hour))
        case $number/$hour in
            */0)  event rotation "logrotate of ${days[number]}" logrotate -f /etc/logrotate.conf & beside+=($!) ;;
            */2)  event dump "pg_dump of ${days[number]} 02:00" nightly_dump $number.dump & beside+=($!) ;;
            2/12) event package "apt-get install $PACKAGES" apt install --no-download $PACKAGES & beside+=($!) ;;
            6/5)  event maintenance "VACUUM, REINDEX, old history deleted" maintain & beside+=($!) ;;
            6/9)  event trim "fstrim" trim & beside+=($!) ;;
        esac
        share=${workday[hour]}
        [ $number -lt 5 ] || share=${weekend[hour]}
        hour_of_work $share & beside+=($!)
        sql CHECKPOINT & beside+=($!)
    done
    until_hour $((number * 24 + 24))
    for job in "${beside[@]}"; do wait $job || status=$?; done
    return $status
}

pg_isready -q -t 60 || { report start postgres "did not come up"; report stop postgres status=1; }
report stat boot $(cat /sys/block/vda/stat)
phase prepare "pgbench -i -s $SCALE" prepare
begin_represented_time
for number in $(seq 0 $((DAYS - 1))); do
    phase "${days[number]}" "24 represented hours, pgbench at up to $BUSY transactions a second" day $number
done
finish
