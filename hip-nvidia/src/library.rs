//! Opening a library by the names that it may have.

use libloading::Library;

/// The library at the path in the environment variable `variable`, else the first of `names` that the loader finds; or a
/// line for each that says why not.
pub fn open(variable: &str, names: &[&str]) -> Result<Library, String> {
    let named = std::env::var(variable).ok().filter(|path| !path.is_empty());
    let candidates: Vec<&str> = match &named {
        Some(path) => vec![path],
        None => names.to_vec(),
    };
    let mut tried = Vec::new();
    for name in candidates {
        // SAFETY: NVIDIA's libraries have initialisers that may run at any time.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(library),
            Err(why) => tried.push(match std::error::Error::source(&why) {
                Some(source) => source.to_string(),
                None => why.to_string(),
            }),
        }
    }
    Err(tried.join("; "))
}
