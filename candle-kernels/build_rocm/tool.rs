//! The build's translation and compilation by hand. `scripts/translate_to_hip.sh` and
//! `scripts/compile_hip_kernels.sh` compile this file with `rustc` and run it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "mod.rs"]
#[allow(dead_code)]
mod build_rocm;

use build_rocm::build::{build, Folders};
use build_rocm::modules::{Source, SOURCES};
use build_rocm::{selection, translate, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) if command == "translate" => {
            parse(rest).and_then(|options| translate_all(&options))
        }
        Some((command, rest)) if command == "compile" => {
            parse(rest).and_then(|options| compile(&options))
        }
        _ => Err("the first argument is translate or compile".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    krate: PathBuf,
    out: Option<PathBuf>,
    cache: Option<PathBuf>,
    arch: Option<String>,
    modules: Vec<String>,
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        krate: PathBuf::new(),
        out: None,
        cache: None,
        arch: None,
        modules: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let mut value = || {
            rest.next()
                .cloned()
                .ok_or_else(|| format!("{option} needs a value"))
        };
        match option.as_str() {
            "--crate" => options.krate = value()?.into(),
            "--out" => options.out = Some(value()?.into()),
            "--cache" => options.cache = Some(value()?.into()),
            "--arch" => options.arch = Some(value()?),
            "--module" => options
                .modules
                .extend(value()?.split(',').map(str::to_string)),
            other => {
                return Err(format!(
                    "unknown option {other}; known are --arch LIST, --module LIST, --out DIR"
                ))
            }
        }
    }
    Ok(options)
}

fn out_folder(options: &Options) -> Result<&Path> {
    options
        .out
        .as_deref()
        .ok_or_else(|| "--out DIR is missing".into())
}

fn translate_all(options: &Options) -> Result<()> {
    let out = out_folder(options)?;
    let written = translate::translate_tree(&options.krate.join("src"), out)?;
    println!("{} files in {}", written.len(), out.display());
    Ok(())
}

fn compile(options: &Options) -> Result<()> {
    let out = out_folder(options)?;
    let environment = env::var("CANDLE_HIP_ARCHS").ok();
    let wanted = selection::targets(options.arch.as_deref().or(environment.as_deref()))?;
    let modules = modules(&options.modules)?;
    let cache = options.cache.clone().unwrap_or_else(|| out.join("cache"));
    let folders = Folders {
        krate: options.krate.clone(),
        translated: out.join("hip"),
        cache,
    };
    let built = build(&folders, &modules, &wanted)?;
    for note in built.notes() {
        eprintln!("{note}");
    }
    for object in built.objects {
        let path = out.join(format!("{}-{}.co", object.module.name, object.target.name));
        let size = fs::copy(&object.path, &path)
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        println!("{} ({} KiB)", path.display(), size.div_ceil(1024));
    }
    Ok(())
}

/// The modules called `names`; without names, those that the build compiles.
fn modules(names: &[String]) -> Result<Vec<&'static Source>> {
    if names.is_empty() {
        return Ok(SOURCES.iter().filter(|module| module.built).collect());
    }
    names
        .iter()
        .map(|name| {
            SOURCES
                .iter()
                .find(|module| module.name == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = SOURCES.iter().map(|module| module.name).collect();
                    format!("unknown module \"{name}\"; known are {}", known.join(", "))
                })
        })
        .collect()
}
