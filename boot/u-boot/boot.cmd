# Switchback boot script for U-Boot: two slots, counted tries, never a prompt.
# U-Boot runs the file made of it:  mkimage -A x86 -T script -C none -d boot.cmd boot.scr
#
# Variables, the same as RAUC's (its boards can take this script, and this script's boards RAUC):
#   BOOT_ORDER                 bootnames, the one to try first in front: "A B"
#   BOOT_A_LEFT, BOOT_B_LEFT   tries left, hexadecimal without prefix; 0 = not to be started
#   switchback_id              handed to the kernel; by it the system proves that it and this script
#                              use one and the same environment
#
# Rules:
#   - A try is written down before the slot is touched, in one write of one copy of the environment.
#     Whatever happens after that (broken file system, crash, power cut) has cost the slot its try.
#   - A slot that does not load is left at once for the next one, without a reset, and is not tried
#     again in this run.
#   - No tries left anywhere: every slot that may still work gets its tries back and the search goes
#     on. A device that nobody can reach must start something.
#   - Other bootnames in BOOT_ORDER (a rescue system, say) are not ours: skipped, and kept.
#
# Needs CONFIG_CMD_SAVEENV, _SETEXPR, _ITEST, _PART and _FS_GENERIC. "name=value" is a variable of
# the shell, setenv one of the environment; saveenv stores all of the latter. So everything temporary
# is a shell variable, and what has to be in the environment for a while is unset in time: what
# commands insist on leaving there, and env_state (the shell ignores "name=" with nothing behind it).

# --- this script's own variables: a stored one of the same name would hide the shell's ------------
setenv name
for name in slot label failed_A failed_B disk kernel_at kernel_size initrd_at args tries; do
  setenv ${name}
done

# --- the board: where the slots are, where files may lie in memory, what the kernel is told --------
# The kernel unpacks itself upwards from its place, so the initrd stays well above it. On ARM also
# change zboot below to booti.
disk="virtio 0"
kernel_at=0x1000000
initrd_at=0x8000000
args="ro console=ttyS0 quiet panic=-1 systemd.volatile=state"
tries=3

# --- defaults, for a new board or one whose environment was lost; saved with the first try ---------
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT ${tries}
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT ${tries}

# --- the search: the order as it stands; then, behind the word "refill", the order again with full
# counters, and the slots that are not in it (one that was called bad beats a dead device) ----------
failed_A=no
failed_B=no
for name in ${BOOT_ORDER} refill ${BOOT_ORDER} A B; do
  slot=none

  if test "${name}" = refill; then
    echo "SB: no slot with tries left, refilling"
    test ${failed_A} = yes || setenv BOOT_A_LEFT ${tries}
    test ${failed_B} = yes || setenv BOOT_B_LEFT ${tries}
  fi

  # itest reads hexadecimal, as setexpr writes it; test would read decimal. What is no number is 0.
  if test "${name}" = A && test ${failed_A} = no && itest 0x${BOOT_A_LEFT} -gt 0; then
    slot=A
    label=slot-a
    failed_A=yes
    setexpr BOOT_A_LEFT 0x${BOOT_A_LEFT} - 1
  fi
  if test "${name}" = B && test ${failed_B} = no && itest 0x${BOOT_B_LEFT} -gt 0; then
    slot=B
    label=slot-b
    failed_B=yes
    setexpr BOOT_B_LEFT 0x${BOOT_B_LEFT} - 1
  fi

  if test ${slot} != none; then
    # An environment that cannot be written is no reason to stop; the system is told that tries are
    # not counted.
    setenv env_state
    setenv part
    setenv filesize
    setenv bootargs
    if saveenv; then true; else
      echo "SB: SAVE FAILED"
      setenv env_state " switchback.env_state=bad"
    fi

    # If the kernel starts, none of the following returns.
    echo "SB: slot=${slot} order=${BOOT_ORDER} left A=${BOOT_A_LEFT} B=${BOOT_B_LEFT}"
    setenv bootargs "root=PARTLABEL=${label} ${args} switchback.slot=${slot} switchback.env=${switchback_id}${env_state}"
    if part number ${disk} ${label} part; then
      if load ${disk}:${part} ${kernel_at} /boot/vmlinuz; then
        kernel_size=${filesize}
        if load ${disk}:${part} ${initrd_at} /boot/initrd.img; then
          zboot ${kernel_at} ${kernel_size} ${initrd_at} ${filesize}
        fi
      fi
    fi
    echo "SB: slot=${slot} does not load"
  fi
done

# Every slot is unreadable. A disk that was late or a cold contact may be better in a while; waiting
# also spares the environment's flash, which is written on each round.
echo "SB: nothing loads, starting over in 10 seconds"
sleep 10
reset
