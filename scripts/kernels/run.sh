#!/bin/bash
# Runs tests on other kernels: boots each in an emulated machine without devices,
# where an init of our own (test/kernels/init) runs the test binaries. Prints per
# kernel what passed, failed and was skipped. Needs no root.
#
# KERNELS    releases of Debian's kernels (6.1 6.12)
# TESTS      instead of all, the tests of the datapath whose names match this expression
# TIMELIMIT  seconds per kernel (1800)
# KEEP       a folder to leave the machines' output in
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weir/kernels
limit=${TIMELIMIT:-1800}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One processor, and an emulated one: what measures time, needs many interfaces,
# routes or policies, or tests a test, is left to machines that are quick, and the
# kernel is compared with the references on fewer packets.
skipped='^(TestMany|TestLarge|TestClassBench|TestMutants|TestHoldMutants|TestSwapTestSees|TestForeignPins)'
fewer='-weir.frames=20000 -weir.sequences=300'
# Lives of the Collector: enforced with it dead, unloaded, its own exports, reset; and
# devices that few kernels in use for tests have: VLANs, VRFs, VXLAN.
whole='^(TestDeadAgent|TestUnloadLeavesNothing|TestExport|TestRefusedAtOnce|TestVLANs|TestVLANBlocked|TestVLANRouter|TestOpenInVLAN|TestVLANInVRF|TestVRFs|TestEnslaved|TestOpenInVRF|TestProbeInVRF|TestOverlay)$'

scripts/kernels/tests.sh "$work/tests"
cat >"$work/tests/tests/list" <<LIST
internal/datapath /src/internal/datapath -test.v=test2json -test.timeout=$((limit * 2 / 3))s $fewer -test.skip=$skipped
test/e2e /src/test/e2e -test.v=test2json -test.timeout=$((limit / 3))s -test.parallel=1 -test.run=$whole
LIST
if [ -n "${TESTS:-}" ]; then
  echo "internal/datapath /src/internal/datapath -test.v=test2json -test.timeout=${limit}s $fewer -test.run=$TESTS" >"$work/tests/tests/list"
fi

# Splits the machine's output at the lines of its init, and reports on each part.
report() {
  local output=$1 name='' part=$work/part status
  : >"$work/events"
  : >"$part"
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    $'\x01begin '*)
      name=${line#$'\x01begin '}
      : >"$part"
      ;;
    $'\x01end '*)
      go tool test2json -t -p "$name" <"$part" >>"$work/events"
      name=''
      ;;
    *) printf '%s\n' "$line" >>"$part" ;;
    esac
  done <"$output"
  if [ -n "$name" ]; then # the machine ended in the middle
    go tool test2json -t -p "$name" <"$part" >>"$work/events"
  fi
  go run -C tools ./testreport <"$work/events"
}

boot() {
  local release=$1 unpacked version began=$SECONDS result=0
  unpacked=$(scripts/kernels/fetch.sh "$release" "$cache") || return 1
  version=$(ls "$unpacked/lib/modules")
  scripts/kernels/initramfs.sh "$unpacked/lib/modules/$version" "$work/tests" "$work/initramfs" || return 1
  : >"$work/output"
  printf '== Linux %s\n' "$version"
  timeout "$limit" nice -n 10 qemu-system-x86_64 -M q35 -accel tcg -cpu max -smp 1 -m 1024 \
    -kernel "$unpacked/boot/vmlinuz-$version" -initrd "$work/initramfs" \
    -append 'console=ttyS0 panic=-1 quiet' -no-reboot -display none -net none \
    -serial "file:$work/console" -serial "file:$work/output" </dev/null || result=$?
  if [ -n "${KEEP:-}" ]; then
    mkdir -p "$KEEP"
    cp "$work/output" "$KEEP/$release.output"
    cp "$work/console" "$KEEP/$release.console"
  fi
  case $result in
  0) ;;
  124) echo "The time limit of $limit s is over." ;;
  *) echo "The emulator ended with status $result." ;;
  esac
  report "$work/output" || result=1
  grep -a -e '^init: ' -e 'Kernel panic' "$work/console" && result=1
  printf '== Linux %s took %d s\n' "$version" $((SECONDS - began))
  return "$result"
}

status=0
for release in ${KERNELS:-6.1 6.12}; do
  boot "$release" || status=1
done
exit "$status"
