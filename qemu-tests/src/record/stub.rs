//! A kernel that prints its command line and halts: all that is wanted to know which slot a
//! bootloader starts, in milliseconds.

/// Its line on the console begins with this; the command line follows.
pub(super) const LINE: &str = "SB: KERNEL ";

/// 32-bit code for any address. In `esi` the loader leaves the address of the boot parameters.
///
/// ```text
///        mov esp, 0x110000
///        call here
/// here:  pop ebx
///        lea edi, [ebx + prefix - here];   call print
///        mov edi, [esi + 0x228];           call print      ; cmd_line_ptr
///        lea edi, [ebx + line_end - here]; call print
/// halt:  hlt;  jmp halt
/// print: mov cl, [edi];  test cl, cl;  jz done
/// wait:  mov dx, 0x3fd;  in al, dx;  test al, 0x20;  jz wait ; until the UART takes a byte
///        mov dx, 0x3f8;  mov al, cl; out dx, al
///        inc edi;  jmp print
/// done:  ret
/// prefix, line_end
/// ```
const CODE: &[u8] =
    b"\xbc\0\0\x11\0\xe8\0\0\0\0\x5b\x8d\xbb\x3f\0\0\0\xe8\x19\0\0\0\x8b\xbe\x28\x02\
\0\0\xe8\x0e\0\0\0\x8d\xbb\x4d\0\0\0\xe8\x03\0\0\0\xf4\xeb\xfd\x8a\x0f\x84\xc9\x74\x13\x66\xba\xfd\
\x03\xec\xa8\x20\x74\xf7\x66\xba\xf8\x03\x88\xc8\xee\x47\xeb\xe7\xc3\r\nSB: KERNEL \0\r\n\0";

/// Boot sector and setup sector, then the code.
const SETUP: usize = 1024;

/// The kernel as a file, in Linux's boot protocol 2.06.
pub(super) fn kernel() -> Vec<u8> {
    let mut image = vec![0; SETUP];
    let fields: &[(usize, &[u8])] = &[
        (0x1f1, &[1]),                           // setup_sects
        (0x1f4, &32_u32.to_le_bytes()),          // syssize, in 16 bytes
        (0x1fe, &0xaa55_u16.to_le_bytes()),      // boot_flag
        (0x200, &[0xeb, 0x66]),                  // jump: where the header ends
        (0x202, b"HdrS"),                        // header
        (0x206, &0x0206_u16.to_le_bytes()),      // version
        (0x211, &[1]),                           // loadflags: LOADED_HIGH
        (0x214, &0x10_0000_u32.to_le_bytes()),   // code32_start
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()), // initrd_addr_max
        (0x230, &0x1000_u32.to_le_bytes()),      // kernel_alignment
        (0x238, &2047_u32.to_le_bytes()),        // cmdline_size
    ];
    for (at, bytes) in fields {
        for (place, byte) in image.iter_mut().skip(*at).zip(*bytes) {
            *place = *byte;
        }
    }
    image.extend_from_slice(CODE);
    image.resize(SETUP + 512, 0);
    image
}
