//! Small images, made byte by byte, and files that are refused.

use sha2::{Digest, Sha256};

const SECTOR: usize = 2_048;

/// A valid ISO 9660 image of 64 KiB or a little more, with this volume label; another label is another SHA-256.
pub fn iso(label: &str) -> Vec<u8> {
    iso_of(label, 48)
}

/// The same with so many sectors of 2,048 bytes.
pub fn iso_of(label: &str, sectors: u32) -> Vec<u8> {
    let mut image: Vec<u8> = (0..sectors as usize * SECTOR).map(|at| if at < 20 * SECTOR { 0 } else { (at / 7 % 251) as u8 }).collect();
    put(&mut image, 16, 1);
    put(&mut image, 17, 255);
    let primary = &mut image[16 * SECTOR..17 * SECTOR];
    primary[40..72].fill(b' ');
    primary[40..40 + label.len()].copy_from_slice(label.as_bytes());
    primary[80..84].copy_from_slice(&sectors.to_le_bytes());
    primary[84..88].copy_from_slice(&sectors.to_be_bytes());
    primary[128..130].copy_from_slice(&2_048_u16.to_le_bytes());
    primary[130..132].copy_from_slice(&2_048_u16.to_be_bytes());
    primary[318..446].fill(b' ');
    primary[318..326].copy_from_slice(b"EXAMPLE ");
    image
}

fn put(image: &mut [u8], sector: usize, kind: u8) {
    let start = sector * SECTOR;
    image[start] = kind;
    image[start + 1..start + 6].copy_from_slice(b"CD001");
    image[start + 6] = 1;
}

/// An ISO that is a qcow2 disk image as well.
pub fn polyglot() -> Vec<u8> {
    let mut image = iso("POLYGLOT");
    image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    image
}

/// An ISO that ends like a fixed VHD, which only the whole file tells.
pub fn vhd() -> Vec<u8> {
    let mut image = iso_of("VHD", 60);
    let footer = image.len() - 512;
    image[footer..footer + 8].copy_from_slice(b"conectix");
    image
}

/// An ISO whose last sectors are missing.
pub fn truncated() -> Vec<u8> {
    let mut image = iso_of("TRUNCATED", 60);
    image.truncate(50 * SECTOR);
    image
}

/// As `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    vmimg::secret::hex(&Sha256::digest(bytes))
}
