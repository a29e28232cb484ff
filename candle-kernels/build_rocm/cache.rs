//! Compiled code objects, kept under the digest of everything that went into them: source with all headers it
//! includes, target, compiler and flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Result;

/// Code objects that no build has asked for this long are deleted.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// FNV-1a with 128 bits: stable across Rust versions, which std's hasher is not, and wide enough that two inputs
/// meeting by chance need not be feared.
pub struct Digest(u128);

impl Digest {
    pub fn new() -> Self {
        Digest(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// Adds a field; its length goes in too, so that fields cannot run into each other.
    pub fn add(&mut self, field: &[u8]) -> &mut Self {
        for byte in (field.len() as u64).to_le_bytes().iter().chain(field) {
            self.0 = (self.0 ^ u128::from(*byte))
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        self
    }

    pub fn hex(&self) -> String {
        format!("{:032x}", self.0)
    }
}

/// The folder of the cache.
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot make the cache {}: {e}; set CANDLE_HIP_CACHE to a folder that can be written", folder.display()))?;
        let cache = Cache { folder };
        cache.drop_old();
        Ok(cache)
    }

    /// Where the object `stem` with `digest` lies, or would lie.
    pub fn path(&self, stem: &str, digest: &str) -> PathBuf {
        self.folder.join(format!("{stem}-{digest}.co"))
    }

    /// A place of this process's own to build the object in; `publish` moves it into the cache.
    pub fn scratch(&self, stem: &str) -> PathBuf {
        self.folder
            .join(format!("{stem}-{}.part", std::process::id()))
    }

    /// True when `path` holds an object; marks it as used.
    pub fn holds(&self, path: &Path) -> bool {
        let Ok(file) = fs::File::options().append(true).open(path) else {
            return false;
        };
        // A failure only means that the object is deleted and rebuilt earlier than need be.
        let _ = file.set_modified(SystemTime::now());
        file.metadata().is_ok_and(|data| data.len() > 0)
    }

    /// Renaming is atomic: another build that runs at the same time sees the whole object or none.
    pub fn publish(&self, scratch: &Path, path: &Path) -> Result<()> {
        fs::rename(scratch, path).map_err(|e| {
            format!(
                "cannot move {} to {}: {e}",
                scratch.display(),
                path.display()
            )
        })
    }

    fn drop_old(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = [".co", ".part", ".bc"]
                .iter()
                .any(|end| name.to_string_lossy().ends_with(end));
            let age = entry
                .metadata()
                .and_then(|data| data.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            if ours && age.is_some_and(|age| age > KEEP) {
                // Another build may have deleted it first.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_fnv1a_and_separates_fields() {
        // No field: the offset basis as published (http://www.isthe.com/chongo/tech/comp/fnv).
        assert_eq!(Digest::new().hex(), "6c62272e07bb014262b821756295c58d");
        let (mut a, mut b) = (Digest::new(), Digest::new());
        a.add(b"ab").add(b"c");
        b.add(b"a").add(b"bc");
        assert_ne!(a.hex(), b.hex());
    }
}
