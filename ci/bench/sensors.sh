#!/usr/bin/env bash
# Makes a sysfs tree of this machine's own parts plus sensors that it may lack: a processor package with its memory, and a
# temperature. For trying meters out and measuring what reading them costs, never for a number about real energy.
#
# Usage: sensors.sh FOLDER [WATTS]
#   WATTS  lets the counters run as if package and memory took so much, until it is killed; without it they stand still
set -euo pipefail
root=$1
mkdir -p "$root/class/thermal/thermal_zone0"
for part in devices fs kernel hypervisor; do
  [ ! -e "/sys/$part" ] || ln -sfn "/sys/$part" "$root/$part"
done
echo 47000 > "$root/class/thermal/thermal_zone0/temp"
zone() {
  mkdir -p "$root/class/powercap/$1"
  echo "$2" > "$root/class/powercap/$1/name"
  echo 262143328850 > "$root/class/powercap/$1/max_energy_range_uj"
  echo 1000000 > "$root/class/powercap/$1/energy_uj"
}
zone intel-rapl:0 package-0
zone intel-rapl:0:0 dram

[ $# -gt 1 ] || exit 0
exec python3 - "$root/class/powercap" "$2" << 'PYTHON'
import os, sys, time
folder, watts = sys.argv[1], float(sys.argv[2])
# Four fifths of it in the package, the rest in its memory.
shares = {"intel-rapl:0": 0.8, "intel-rapl:0:0": 0.2}
begun = time.monotonic()
while True:
    for zone, share in shares.items():
        # Replaced whole, so that no reader finds it half written.
        path = f"{folder}/{zone}/energy_uj"
        with open(path + ".new", "w") as file:
            file.write(f"{int(1e6 + (time.monotonic() - begun) * watts * share * 1e6)}\n")
        os.replace(path + ".new", path)
    time.sleep(0.005)
PYTHON
