#!/usr/bin/env bash
# Makes a sysfs tree of this machine's own parts plus sensors that it may lack: a processor package with its memory, and a
# temperature. For measuring what reading them costs, never for a number about energy. Usage: sensors.sh FOLDER
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
