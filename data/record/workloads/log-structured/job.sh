#!/bin/bash
# shellcheck disable=SC1091,SC2046,SC2086
# A key-value store that is filled, overwritten in a skewed way, thinned out, compacted and read.
. /root/lib.sh

store() { python3 /root/job.py "$@" --path /srv/store --keys $KEYS --value $VALUE --seed $SEED; }

copy() { tar -C /srv -cf /srv/store.tar store; }

report stat boot $(cat /sys/block/vda/stat)
phase settle      "idle after boot"                                                 idle 0.5
phase fill        "inserts in the order of the keys, batches of 100"                store fill
phase overwrite   "overwrites, Zipf: 1 in 10 operations reads, one write in 50 synced" \
                  store overwrite --seconds $(units 5) --rate $RATE
phase copy        "a copy of the closed store by tar"                               copy
phase churn       "inserts, overwrites, deletes and short scans"                    store churn --seconds $(units 6) --rate $RATE
phase idle        "idle"                                                            idle 1
phase delete      "a third of the keys deleted in ranges"                           store delete
phase compact     "the whole key range compacted"                                   store compact
phase scan        "all read in order"                                               store scan
phase trim        "fstrim -v /"                                                     trim
phase refill      "inserts in random order, each write synced, batches of 10"       store refill --seconds $(units 2) --rate 100
phase uncopy      "the copy removed"                                                rm /srv/store.tar
phase overwrite-2 "as overwrite, at twice the rate"                                 store overwrite --seconds $(units 4) --rate $((2 * RATE))
phase compact-2   "the whole key range compacted"                                   store compact
phase trim-2      "fstrim -v /"                                                     trim
phase idle-end    "idle"                                                            idle 1
finish
