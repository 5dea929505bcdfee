//! What must not be guessed: tokens, codes and password hashes.

use std::sync::{Mutex, PoisonError};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHasher, Version,
    password_hash::phc::{Output, PasswordHash},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha256};

/// Memory of one hash in KiB, rounds and lanes: OWASP's first recommendation for Argon2id.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// A random token of 256 bits, as 64 hexadecimal digits.
pub fn token() -> String {
    hex(&random())
}

fn random() -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    // Without randomness nothing here is safe, and nobody could do anything about it.
    #[expect(clippy::expect_used, reason = "the system's random source does not fail once the system runs")]
    getrandom::fill(&mut bytes).expect("the system has a random source");
    bytes
}

/// How a token of a program begins, so that it is recognised where it should not be.
pub const TOKEN_PREFIX: &str = "vmi_";

/// A random token of 256 bits for a program: `vmi_` and 43 characters that need no quoting anywhere.
pub fn program_token() -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random()))
}

/// Whether a text is spelt as [`program_token`] spells.
pub fn is_program_token(text: &str) -> bool {
    text.strip_prefix(TOKEN_PREFIX).is_some_and(|rest| URL_SAFE_NO_PAD.decode(rest).is_ok_and(|bytes| bytes.len() == 32))
}

/// How a token that carries on one upload begins.
pub const UPLOAD_TOKEN_PREFIX: &str = "vmu_";

/// A random token of 256 bits that carries on one upload, spelt as [`program_token`] is.
pub fn upload_token() -> String {
    format!("{UPLOAD_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random()))
}

/// Whether a text is spelt as [`upload_token`] spells.
pub fn is_upload_token(text: &str) -> bool {
    text.strip_prefix(UPLOAD_TOKEN_PREFIX).is_some_and(|rest| URL_SAFE_NO_PAD.decode(rest).is_ok_and(|bytes| bytes.len() == 32))
}

/// What is stored of a token: it is found by this, and cannot be made from this.
pub fn digest(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The bytes that hexadecimal digits stand for; none if the text is something else.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let plain = digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| digits.as_bytes().chunks(2).map(pair).collect())?
}

fn argon() -> Argon2<'static> {
    let (memory, rounds, lanes) = COST;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, rounds, lanes, None).unwrap_or_default())
}

/// A SHA-256 as `Repr-Digest` and its like have it (RFC 9530).
pub fn digest_field(digest: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(digest))
}

/// Hashes a password; takes tens of milliseconds and 19 MiB.
pub fn hash_password(password: &str) -> Result<String, String> {
    argon().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|failed| failed.to_string())
}

/// Whether a password belongs to a hash. Takes as long for a hash that nobody has, so that a name that does not exist answers no faster.
pub fn verify_password(password: &str, hash: Option<&str>) -> bool {
    /// A hash of a password that nobody knows, with the same parameters.
    const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5a25vd3N0aGlz$5JHzSGfJBP0JkUyYWJrvT0ClNbLzFuVXPJ3sTyv5dqU";
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or(NOBODY)) else { return false };
    let derived = derive(password.as_bytes(), &parsed);
    // Compared in constant time by its type.
    derived.is_some() && derived == parsed.hash && hash.is_some()
}

/// What this password gives with the salt and the parameters of a hash.
fn derive(password: &[u8], hash: &PasswordHash) -> Option<Output> {
    /// Memory of earlier hashes. Taken anew each time, 19 MiB would stay behind with every thread that ever hashed.
    static KEPT: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(hash).ok()?;
    let (salt, length) = (hash.salt.as_ref()?, hash.hash.as_ref()?.len());
    let mut memory = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    memory.resize(params.block_count(), Block::default());
    let mut bytes = [0; Output::MAX_LENGTH];
    let out = bytes.get_mut(..length)?;
    let derived = Argon2::new(algorithm, version, params).hash_password_into_with_memory(password, salt.as_ref(), out, &mut memory);
    let output = derived.ok().and_then(|()| Output::new(out).ok());
    // Nothing of a password stays in it.
    memory.fill(Block::default());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    output
}

/// Whether a hash was made with other parameters than the present ones.
pub fn is_outdated(hash: &str) -> bool {
    let (memory, rounds, lanes) = COST;
    !hash.starts_with(&format!("$argon2id$v=19$m={memory},t={rounds},p={lanes}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_belongs_to_its_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        assert!(verify_password("correct horse", Some(&hash)));
        assert!(!verify_password("correct horse ", Some(&hash)));
        assert!(!verify_password("correct horse", None));
        assert!(!is_outdated(&hash));
        assert!(is_outdated("$argon2id$v=19$m=4096,t=3,p=1$x$y"));
    }

    #[test]
    fn nobodys_hash_is_well_formed() {
        // If it were not, a name that does not exist would answer at once.
        let start = std::time::Instant::now();
        assert!(!verify_password("x", None));
        let nobody = start.elapsed();
        let hash = hash_password("y").unwrap();
        let start = std::time::Instant::now();
        assert!(!verify_password("x", Some(&hash)));
        assert!(nobody * 4 > start.elapsed(), "{nobody:?} {:?}", start.elapsed());
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (token(), token());
        assert_eq!((one.len(), one == other), (64, false));
        let (one, other) = (program_token(), program_token());
        assert_eq!((one.len(), one == other, is_program_token(&one)), (47, false, true));
        for other in ["", "vmi_", &one[..46], &format!("{one}A"), &one.replace("vmi_", "vmx_"), &one.replacen("vmi_", "vmi_=", 1), &token()]
        {
            assert!(!is_program_token(other), "{other}");
        }
        assert_eq!(unhex(&hex(&[0, 171, 255])), Some(vec![0, 171, 255]));
        assert!(unhex("a").is_none() && unhex("+1").is_none());
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
