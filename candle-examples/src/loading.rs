//! The model file of an example: errors name it, and a terminal shows how much of it was read.
use candle::{Error, Result};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes read between two looks at the bar; a tensor may have gigabytes.
const STRETCH: usize = 8 << 20;

/// A file that a model is read from. The bar, on stderr and only where that is a terminal, goes away with the value.
pub struct ModelFile {
    // Metadata is read a few bytes at a time; longer reads pass the buffer by.
    file: BufReader<File>,
    path: PathBuf,
    len: u64,
    bar: ProgressBar,
}

/// Opens the model file at `path`.
///
/// # Errors
/// When it cannot be opened, or is a folder; the message names it.
pub fn open(path: impl AsRef<Path>) -> Result<ModelFile> {
    let path = path.as_ref().to_path_buf();
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|e| Error::from(e).with_path(&path))?;
    if metadata.is_dir() {
        candle::bail!("{} is a folder, not a model file", path.display())
    }
    let len = metadata.len();
    let bar = ProgressBar::new(len).with_finish(ProgressFinish::AndClear);
    let style = "loading {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).map_err(Error::wrap)?);
    Ok(ModelFile {
        file: BufReader::new(file),
        path,
        len,
        bar,
    })
}

/// Shows that `what` goes on, until the value is dropped: for readers that open a file themselves.
pub fn spinner(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner()
        .with_message(what)
        .with_finish(ProgressFinish::AndClear);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

impl ModelFile {
    /// Hands the file to a loader and puts its path into the error.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn named<T>(&mut self, load: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        load(self).map_err(|e| e.with_path(&self.path))
    }

    fn count(&self, bytes: usize) {
        // Some weights are read twice.
        let position = self.bar.position() + bytes as u64;
        self.bar.set_position(position.min(self.len));
    }

    fn too_short(&mut self, wanted: usize) -> io::Error {
        let at = self.file.stream_position().unwrap_or(self.len);
        let text = format!(
            "{}: the file ends at byte {}, {wanted} bytes more were to follow byte {at}: it is cut short, as by a \
             download that broke off",
            self.path.display(),
            self.len
        );
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }
}

impl Read for ModelFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count(read);
        Ok(read)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for stretch in buffer.chunks_mut(STRETCH) {
            match self.file.read_exact(stretch) {
                Ok(()) => self.count(stretch.len()),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(self.too_short(stretch.len()))
                }
                Err(e) => {
                    let text = format!("{}: {e}", self.path.display());
                    return Err(io::Error::new(e.kind(), text));
                }
            }
        }
        Ok(())
    }
}

impl Seek for ModelFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo_model() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo-model/candle-rocm-demo-f16.gguf")
    }

    #[test]
    fn the_bytes_are_those_of_the_file_in_any_order() {
        let expected = std::fs::read(demo_model()).unwrap();
        let mut file = open(demo_model()).unwrap();
        let middle = expected.len() / 2;
        file.seek(SeekFrom::Start(middle as u64)).unwrap();
        let mut tail = vec![0; expected.len() - middle];
        file.read_exact(&mut tail).unwrap();
        assert_eq!(tail, expected[middle..]);
        file.rewind().unwrap();
        let mut head = Vec::new();
        (&mut file)
            .take(middle as u64)
            .read_to_end(&mut head)
            .unwrap();
        assert_eq!(head, expected[..middle]);
        assert_eq!(file.bar.position(), expected.len() as u64);
    }

    #[test]
    fn a_file_that_ends_early_is_named_with_its_length() {
        let mut file = open(demo_model()).unwrap();
        let len = file.len;
        file.seek(SeekFrom::Start(len - 3)).unwrap();
        let error = file.read_exact(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let text = error.to_string();
        assert!(
            text.contains("candle-rocm-demo-f16.gguf") && text.contains(&len.to_string()),
            "{text}"
        );
    }

    #[test]
    fn a_loaders_error_names_the_file() {
        let mut file = open(demo_model()).unwrap();
        let error = file.named(|_| -> Result<()> { candle::bail!("no such tensor") });
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no such tensor"), "{text}");
        assert!(text.contains("candle-rocm-demo-f16.gguf"), "{text}");
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let text = |path: &Path| match open(path) {
            Ok(_) => panic!("{} was opened", path.display()),
            Err(e) => e.to_string(),
        };
        assert!(text(Path::new("/nowhere/x.gguf")).contains("/nowhere/x.gguf"));
        let folder = std::env::temp_dir();
        assert!(text(&folder).contains("is a folder"), "{}", text(&folder));
    }
}
