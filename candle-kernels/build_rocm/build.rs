//! Builds the wanted modules for the wanted targets, several at a time, taking from the cache what it holds.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;

use super::cache::{Cache, Digest};
use super::compilers::Compilers;
use super::modules::{Origin, Source};
use super::selection::Wanted;
use super::targets::Target;
use super::{translate, Result};

/// Where everything lies.
pub struct Folders {
    /// The crate: upstream's `src/*.cu` and our `src/hip`.
    pub krate: PathBuf,
    /// Receives the translated sources.
    pub translated: PathBuf,
    pub cache: PathBuf,
}

/// A built code object.
pub struct Object {
    pub module: &'static Source,
    pub target: &'static Target,
    pub path: PathBuf,
}

/// What a build made.
pub struct Built {
    /// Module by module, in the order of both lists.
    pub objects: Vec<Object>,
    pub targets: Vec<&'static Target>,
    /// Targets that nobody named and the compiler is too old for.
    pub left_out: Vec<&'static Target>,
}

impl Built {
    /// A line for each target that was left out: which, and what would build it.
    pub fn notes(&self) -> Vec<String> {
        let note = |target: &&Target| {
            format!(
                "no kernels for {}: they need clang {} or newer (CANDLE_HIP_CLANG names one)",
                target.name, target.min_llvm
            )
        };
        self.left_out.iter().map(note).collect()
    }
}

/// Translates, then compiles every module for every target.
pub fn build(folders: &Folders, modules: &[&'static Source], wanted: &[Wanted]) -> Result<Built> {
    translate::translate_tree(&folders.krate.join("src"), &folders.translated)?;
    let choice = Compilers::find(wanted)?;
    let compilers = choice.compilers;
    let cache = Cache::open(folders.cache.clone())?;

    let mut jobs = Vec::new();
    for module in modules {
        for target in &choice.targets {
            jobs.push(Job::plan(folders, &compilers, &cache, module, target)?);
        }
    }
    let mut missing: Vec<&Job> = jobs.iter().filter(|job| !cache.holds(&job.out)).collect();
    // The longest compilations first, so that none is left running alone at the end.
    missing.sort_by_key(|job| {
        std::cmp::Reverse(fs::metadata(&job.source).map_or(0, |data| data.len()))
    });
    for target in &choice.targets {
        if missing.iter().any(|job| job.target.name == target.name) {
            compilers.prepare(target, &folders.cache)?;
        }
    }
    run_all(&missing, |job| job.compile(folders, &compilers, &cache))?;
    let objects = jobs.into_iter().map(|job| Object {
        module: job.module,
        target: job.target,
        path: job.out,
    });
    Ok(Built {
        objects: objects.collect(),
        targets: choice.targets,
        left_out: choice.left_out,
    })
}

/// One module for one target.
struct Job {
    module: &'static Source,
    target: &'static Target,
    source: PathBuf,
    flags: Vec<String>,
    stem: String,
    out: PathBuf,
}

impl Job {
    fn plan(
        folders: &Folders,
        compilers: &Compilers,
        cache: &Cache,
        module: &'static Source,
        target: &'static Target,
    ) -> Result<Job> {
        let source = match module.origin {
            Origin::Upstream => folders.translated.join(module.path).with_extension("hip"),
            Origin::Own => folders
                .krate
                .join("src/hip")
                .join(module.path)
                .with_extension("hip"),
        };
        let mut roots = vec![source.clone()];
        if module.origin == Origin::Upstream {
            roots.push(folders.include().join("cuda_compat.h"));
        }
        let mut texts = Vec::new();
        for file in closure(roots, &folders.include()) {
            texts
                .push(fs::read(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?);
        }
        let flags = compilers.flags(module, target, &texts);
        let mut digest = Digest::new();
        digest.add(compilers.digest(target).as_bytes());
        for field in flags.iter().map(String::as_bytes) {
            digest.add(field);
        }
        for text in &texts {
            digest.add(text);
        }
        let stem = format!("{}-{}", module.name, target.name);
        let out = cache.path(&stem, &digest.hex());
        Ok(Job {
            module,
            target,
            source,
            flags,
            stem,
            out,
        })
    }

    fn compile(&self, folders: &Folders, compilers: &Compilers, cache: &Cache) -> Result<()> {
        let scratch = cache.scratch(&self.stem);
        compilers
            .compile(
                self.target,
                &folders.cache,
                &self.flags,
                &[&folders.include()],
                &self.source,
                &scratch,
            )
            .map_err(|said| {
                format!(
                    "module `{}` does not compile for {} ({}):\n{said}",
                    self.module.name,
                    self.target.name,
                    self.source.display()
                )
            })?;
        cache.publish(&scratch, &self.out)
    }
}

impl Folders {
    fn include(&self) -> PathBuf {
        self.krate.join("src/hip/include")
    }
}

/// The files of `roots` and all that they include with quotation marks: beside the file or in `include`. A header
/// that is not there is the compiler's to report.
fn closure(roots: Vec<PathBuf>, include: &Path) -> BTreeSet<PathBuf> {
    let (mut seen, mut open) = (BTreeSet::new(), roots);
    while let Some(file) = open.pop() {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let beside = file.parent().unwrap_or(include).to_path_buf();
        for name in text.lines().filter_map(translate::local_include) {
            open.extend(
                [&beside, include]
                    .into_iter()
                    .map(|folder| folder.join(name))
                    .find(|path| path.is_file() && !seen.contains(path)),
            );
        }
        seen.insert(file);
    }
    seen
}

/// Runs `work` on every job with as many threads as cargo allows; the first error stops the rest and is returned.
fn run_all<'a, T: Sync>(jobs: &'a [T], work: impl Fn(&'a T) -> Result<()> + Sync) -> Result<()> {
    let threads = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok());
    let threads: usize =
        threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let first_error = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    if let Err(message) = work(job) {
                        failed.store(true, Ordering::Relaxed);
                        if let Ok(mut slot) = first_error.lock() {
                            slot.get_or_insert(message);
                        }
                    }
                }
            });
        }
    });
    match first_error.into_inner() {
        Ok(Some(message)) => Err(message),
        Ok(None) => Ok(()),
        Err(_) => Err("a compilation thread panicked".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::targets::find;
    use super::*;

    static BROKEN: Source = Source {
        name: "broken",
        origin: Origin::Own,
        path: "broken",
        max_threads: 64,
        cuda_level: 0,
        built: false,
    };

    fn named(target: &str) -> Wanted {
        Wanted {
            target: find(target).unwrap(),
            named: true,
        }
    }

    /// A crate's folder below `OUT_DIR`, holding one CUDA source and the own module `broken` with `text`.
    fn folders(name: &str, text: &str) -> Folders {
        let root = Path::new(env!("OUT_DIR")).join("build-tests").join(name);
        translate::write_if_changed(&root.join("src/some.cu"), b"").unwrap();
        translate::write_if_changed(&root.join("src/hip/include/value.h"), b"#define VALUE 1\n")
            .unwrap();
        translate::write_if_changed(&root.join("src/hip/broken.hip"), text.as_bytes()).unwrap();
        Folders {
            krate: root.clone(),
            translated: root.join("hip"),
            cache: root.join("cache"),
        }
    }

    #[test]
    fn a_broken_kernel_is_named_with_the_compilers_message() {
        let folders = folders("broken", "int f() { return missing; }\n");
        let message = build(&folders, &[&BROKEN], &[named("gfx1100")])
            .err()
            .unwrap();
        for part in [
            "`broken`",
            "gfx1100",
            "use of undeclared identifier 'missing'",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    /// The cache's key covers headers: changing one gives another object, changing it back finds the first again.
    #[test]
    fn a_changed_header_is_compiled_again() {
        let folders = folders(
            "cached",
            "#include \"value.h\"\n__attribute__((device)) int value = VALUE;\n",
        );
        let object = || {
            build(&folders, &[&BROKEN], &[named("gfx90a")])
                .unwrap()
                .objects
                .remove(0)
                .path
        };
        let first = object();
        let header = folders.include().join("value.h");
        translate::write_if_changed(&header, b"#define VALUE 2\n").unwrap();
        assert_ne!(object(), first);
        translate::write_if_changed(&header, b"#define VALUE 1\n").unwrap();
        assert_eq!(object(), first);
    }

    /// Compiles modules for a target.
    fn compiles(name: &str, flags: &[&str], among: impl Fn(&Source) -> bool) {
        let folders = Folders {
            krate: env!("CARGO_MANIFEST_DIR").into(),
            ..folders(&format!("compiles-{name}"), "")
        };
        let target = find(name).unwrap();
        let compilers = Compilers::find(&[named(name)]).unwrap().compilers;
        let cache = Cache::open(folders.cache.clone()).unwrap();
        for module in super::super::modules::SOURCES.iter().filter(|m| among(m)) {
            let mut job = Job::plan(&folders, &compilers, &cache, module, target).unwrap();
            job.flags.extend(flags.iter().map(|flag| flag.to_string()));
            job.compile(&folders, &compilers, &cache).unwrap();
        }
    }

    /// The build compiles them without -Werror: another clang may warn of more.
    #[test]
    fn own_kernels_give_no_warning() {
        let own = |module: &Source| module.origin == Origin::Own;
        compiles("gfx90a", &["-Wall", "-Wextra", "-Werror"], own);
    }

    /// It has no dot product of integers, and no build but a user's own has it.
    #[test]
    fn products_compile_where_no_dot_product_is() {
        compiles("gfx9-generic", &[], |module| {
            module.name == "quantized_product"
        });
    }

    #[test]
    fn an_error_of_one_job_is_returned() {
        let jobs: Vec<usize> = (0..100).collect();
        let work = |job: &usize| {
            (*job != 3)
                .then_some(())
                .ok_or_else(|| format!("job {job}"))
        };
        assert_eq!(run_all(&jobs, work).unwrap_err(), "job 3");
    }
}
