//! Keeps what may hold secrets unreadable in the file: AES-256-GCM with a key that is kept apart from it.
//!
//! A create in hand must survive the hub, and its payload holds the pod's Secrets. Sealed, they are in no byte of the
//! database, not even in pages that were freed long ago; the key may live on another volume.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::StoreError;

/// The key of one state directory.
pub(super) struct Seal {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(super) fn of(key: [u8; 32]) -> Self {
        Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, &key).expect("AES-256 takes 32 bytes"),
        }
    }

    /// The key in the file; without one, the key of the directory, made when it is missing.
    pub(super) fn open(dir: &Path, file: Option<&Path>) -> Result<Self, StoreError> {
        let (file, given) = match file {
            Some(file) => (file.to_owned(), true),
            None => (dir.join("key"), false),
        };
        let wrong = |problem: String| StoreError::Key {
            file: file.clone(),
            problem,
        };
        match fs::read_to_string(&file) {
            Ok(text) => decode(text.trim()).map(Self::of).ok_or_else(|| {
                wrong(
                    "it must hold 32 bytes as 64 hexadecimal digits, for example from `openssl rand -hex 32`"
                        .to_owned(),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !given => {
                let key = fresh().map_err(|error| wrong(error.to_string()))?;
                keep(&file, &key).map_err(|error| wrong(error.to_string()))?;
                Ok(Self::of(key))
            }
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Seals bytes that belong to `name`.
    pub(super) fn seal(&self, name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut sealed = bytes.to_vec();
        match self
            .key
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
        {
            Ok(nonce) => [nonce.as_ref().as_slice(), &sealed].concat(),
            // Only beyond 64 GiB. An empty row cannot be opened, which is the safe failure.
            Err(_) => Vec::new(),
        }
    }

    /// Opens what [`Seal::seal`] made under the same name and key.
    pub(super) fn open_bytes(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = bytes.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(opened);
        Some(bytes)
    }
}

fn fresh() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers are to be had"))?;
    Ok(key)
}

fn keep(file: &Path, key: &[u8; 32]) -> io::Result<()> {
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = PathBuf::from(format!("{}.new", file.display()));
    let mut written = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(written, "{text}")?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    match file.parent() {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}
