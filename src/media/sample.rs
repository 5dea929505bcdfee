//! Media built byte by byte for tests: small, whole, and wrong in exactly one place when a test says so.

use super::SECTOR_BYTES;

/// Sectors of [`iso`]; the boot catalogue stands in the last one.
pub(super) const ISO_SECTORS: u32 = 40;

/// Sectors of [`udf`].
pub(super) const UDF_SECTORS: u32 = 300;

pub(super) type Sector = [u8; SECTOR_BYTES];

pub(super) fn put(image: &mut [u8], sector: usize, content: &[u8]) {
    image[sector * SECTOR_BYTES..][..content.len()].copy_from_slice(content);
}

pub(super) fn descriptor(kind: u8, id: &[u8; 5]) -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    sector[0] = kind;
    sector[1..6].copy_from_slice(id);
    sector[6] = 1;
    sector
}

pub(super) fn primary(sectors: u32, block_bytes: u16, volume_id: &str) -> Sector {
    let mut sector = descriptor(1, b"CD001");
    sector[40..72].fill(b' ');
    sector[40..40 + volume_id.len()].copy_from_slice(volume_id.as_bytes());
    sector[80..84].copy_from_slice(&sectors.to_le_bytes());
    sector[84..88].copy_from_slice(&sectors.to_be_bytes());
    sector[128..130].copy_from_slice(&block_bytes.to_le_bytes());
    sector[130..132].copy_from_slice(&block_bytes.to_be_bytes());
    sector[318..446].fill(b' ');
    sector[318..326].copy_from_slice(b"US & CO ");
    sector
}

pub(super) fn joliet(volume_id: &str, level: u8) -> Sector {
    let mut sector = descriptor(2, b"CD001");
    let wide: Vec<u8> = volume_id.encode_utf16().flat_map(u16::to_be_bytes).collect();
    sector[40..40 + wide.len()].copy_from_slice(&wide);
    sector[88..91].copy_from_slice(&[b'%', b'/', level]);
    sector
}

pub(super) fn boot_record(catalogue: u32) -> Sector {
    let mut sector = descriptor(0, b"CD001");
    sector[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
    sector[71..75].copy_from_slice(&catalogue.to_le_bytes());
    sector
}

/// Platform and boot indicator of each entry; the first is the default entry.
pub(super) fn boot_catalogue(entries: &[(u8, u8)]) -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    sector[0] = 1;
    sector[30..32].copy_from_slice(&[0x55, 0xaa]);
    for (index, (platform, indicator)) in entries.iter().enumerate() {
        let at = index * 64;
        if index > 0 {
            sector[at] = if index + 1 == entries.len() { 0x91 } else { 0x90 };
            sector[at + 2] = 1;
        }
        (sector[at + 1], sector[at + 32]) = (*platform, *indicator);
    }
    sector
}

/// A bootable ISO 9660 image with Joliet, exactly as long as it says.
pub(super) fn iso() -> Vec<u8> {
    let mut image = vec![0; ISO_SECTORS as usize * SECTOR_BYTES];
    put(&mut image, 16, &primary(ISO_SECTORS, 2048, "SAMPLE_1"));
    put(&mut image, 17, &boot_record(ISO_SECTORS - 1));
    put(&mut image, 18, &joliet("Sample № 1", b'E'));
    put(&mut image, 19, &descriptor(255, b"CD001"));
    put(&mut image, 39, &boot_catalogue(&[(0, 0x88), (0xef, 0x88)]));
    image
}

/// Writes UDF's recognition sequence at `first` and a volume named "Grün" whose partition ends with sector `end`.
pub(super) fn add_udf(image: &mut [u8], first: usize, end: u32) {
    for (index, id) in [b"BEA01", b"NSR03", b"TEA01"].into_iter().enumerate() {
        put(image, first + index, &descriptor(0, id));
    }
    let mut anchor = [0; SECTOR_BYTES];
    anchor[16..20].copy_from_slice(&(16 * 2048_u32).to_le_bytes());
    anchor[20..24].copy_from_slice(&64_u32.to_le_bytes());
    put(image, 256, &tagged(anchor, 2, 256));

    let mut partition = [0; SECTOR_BYTES];
    partition[188..192].copy_from_slice(&257_u32.to_le_bytes());
    partition[192..196].copy_from_slice(&(end - 257).to_le_bytes());
    put(image, 64, &tagged(partition, 5, 64));

    let mut logical = [0; SECTOR_BYTES];
    logical[84..89].copy_from_slice(&[8, b'G', b'r', 0xfc, b'n']);
    logical[84 + 127] = 5;
    put(image, 65, &tagged(logical, 6, 65));
    put(image, 66, &tagged([0; SECTOR_BYTES], 8, 66));
}

/// UDF alone, exactly as long as it says.
pub(super) fn udf() -> Vec<u8> {
    let mut image = vec![0; UDF_SECTORS as usize * SECTOR_BYTES];
    add_udf(&mut image, 16, UDF_SECTORS);
    image
}

/// ISO 9660 and UDF of the same medium; only UDF knows the whole length, as on media made for Windows.
pub(super) fn bridge() -> Vec<u8> {
    let mut image = vec![0; UDF_SECTORS as usize * SECTOR_BYTES];
    image[..ISO_SECTORS as usize * SECTOR_BYTES].copy_from_slice(&iso());
    add_udf(&mut image, 20, UDF_SECTORS);
    image
}

fn tagged(mut sector: Sector, kind: u16, location: u32) -> Sector {
    sector[0..2].copy_from_slice(&kind.to_le_bytes());
    sector[2] = 3;
    sector[12..16].copy_from_slice(&location.to_le_bytes());
    sector[4] = sector[..16].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    sector
}
