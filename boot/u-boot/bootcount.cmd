# Switchback boot script for U-Boot with its own boot count: one slot, counted while it is on trial.
# U-Boot runs the file made of it:
#   mkimage -A x86 -T script -C none -d bootcount.cmd boot.scr
#
# For boards that keep Mender's variables; a board set up for Mender or SWUpdate keeps its own script.
#   mender_boot_part, mender_boot_part_hex   the partition of the slot, decimal and hexadecimal
#   upgrade_available                        1: a trial. U-Boot itself adds one to bootcount and saves
#   bootcount, bootlimit                     beyond the limit it runs altbootcmd instead of bootcmd
#   altbootcmd                               "setenv give_up yes; run bootcmd": this script, which then
#                                            takes the other slot, ends the trial and saves
#   switchback_id                            handed to the kernel, the proof of contact
#
# A slot that is not on trial is not counted: if it breaks, it is started again and again. boot.cmd
# does better.
#
# "name=value" is a variable of the shell, setenv one of the environment; saveenv stores all of the
# latter. So everything temporary is a shell variable, and what has to be in the environment for a
# while is unset in time: what commands insist on leaving there, and env_state (the shell ignores
# "name=" with nothing behind it).

# --- this script's own variables: a stored one of the same name would hide the shell's -------------
setenv name
for name in disk kernel_at kernel_size initrd_at args part_a part_a_hex part_b part_b_hex changed label; do
  setenv ${name}
done

# --- the board -------------------------------------------------------------------------------------
disk="virtio 0"
kernel_at=0x1000000
initrd_at=0x8000000
args="ro console=ttyS0 quiet panic=-1 systemd.volatile=state"
part_a=2
part_a_hex=2
part_b=3
part_b_hex=3

# --- what must be there: a new board, or one whose environment was lost. Without altbootcmd U-Boot
# would end at a prompt once a trial is over. -------------------------------------------------------
changed=no
if test -z "${altbootcmd}"; then
  setenv altbootcmd "setenv give_up yes; run bootcmd"
  changed=yes
fi
if test "${mender_boot_part}" != ${part_a} && test "${mender_boot_part}" != ${part_b}; then
  setenv mender_boot_part ${part_a}
  setenv upgrade_available 0
  changed=yes
fi

# --- U-Boot has given up: bootcount stays as it is, by it the system knows why ----------------------
if test "${give_up}" = yes; then
  echo "SB: trial of ${mender_boot_part} given up after ${bootlimit}"
  if test "${mender_boot_part}" = ${part_a}; then
    setenv mender_boot_part ${part_b}
  else
    setenv mender_boot_part ${part_a}
  fi
  setenv upgrade_available 0
  changed=yes
fi
setenv give_up

# --- one save, if anything changed; the next start does all of this again if it fails ---------------
setenv env_state
if test "${mender_boot_part}" = ${part_b}; then
  label=slot-b
  setenv mender_boot_part_hex ${part_b_hex}
else
  label=slot-a
  setenv mender_boot_part_hex ${part_a_hex}
fi
if test ${changed} = yes; then
  setenv bootargs
  setenv filesize
  if saveenv; then true; else
    echo "SB: SAVE FAILED"
    setenv env_state " switchback.env_state=bad"
  fi
fi

# --- the slot --------------------------------------------------------------------------------------
echo "SB: slot=${mender_boot_part} trial=${upgrade_available} count=${bootcount} limit=${bootlimit}"
setenv bootargs "root=PARTLABEL=${label} ${args} switchback.slot=${mender_boot_part} switchback.env=${switchback_id}${env_state}"
if load ${disk}:${mender_boot_part_hex} ${kernel_at} /boot/vmlinuz; then
  kernel_size=${filesize}
  if load ${disk}:${mender_boot_part_hex} ${initrd_at} /boot/initrd.img; then
    zboot ${kernel_at} ${kernel_size} ${initrd_at} ${filesize}
  fi
fi

# On trial the next start counts, so there is an end to it.
echo "SB: slot=${mender_boot_part} does not load, starting over"
test "${upgrade_available}" = 1 || sleep 10
reset
