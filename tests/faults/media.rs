//! Small ISO images, each with bytes of its own from end to end, so that a block that came from another file or from nowhere is noticed.

use sha2::{Digest, Sha256};

use super::random::Random;

#[path = "../it/support/fixtures.rs"]
#[allow(dead_code, reason = "shared with the tests of single requests, which need more of it")]
mod fixtures;

const SECTOR: usize = 2_048;

/// Bytes of an ISO image with so many sectors, and their SHA-256.
pub fn iso(seed: u64, sectors: u32) -> (Vec<u8>, String) {
    let mut bytes = fixtures::iso_of(&format!("{seed:016X}"), sectors.max(48));
    let mut random = Random::new(seed);
    for piece in bytes[20 * SECTOR..].chunks_exact_mut(8) {
        piece.copy_from_slice(&random.next().to_le_bytes());
    }
    let digest = sha256(&bytes);
    (bytes, digest)
}

/// As `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    vmimg::secret::hex(&Sha256::digest(bytes))
}
