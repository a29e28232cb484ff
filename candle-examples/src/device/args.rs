//! The options of an example that choose its device.
use super::{describe, list, DeviceSpec};
use candle::{Device, Result};

/// `--device`, `--cpu` and `--list-devices`. An example takes them with `#[command(flatten)]`.
#[derive(clap::Args, Debug, Clone, Copy)]
pub struct DeviceArgs {
    /// The device: auto, cpu, cuda[:N], metal[:N] or rocm[:N].
    #[arg(long, default_value_t)]
    device: DeviceSpec,

    /// Run on the CPU, even if a GPU is available; the same as --device cpu.
    #[arg(long)]
    cpu: bool,

    /// List the devices that this build can use, and those that it cannot with the reason.
    // Acts while the options are read, as --help does: an option that is required otherwise may be left out.
    #[allow(dead_code)]
    #[arg(long, value_parser = list_and_leave)]
    list_devices: bool,
}

impl DeviceArgs {
    /// Opens the device that was asked for, and says in one line which it is.
    ///
    /// # Errors
    /// When `--cpu` and `--device` contradict each other, when this build has no such backend, or when the card cannot
    /// be opened.
    pub fn open(self) -> Result<Device> {
        let device = self.device.or_cpu(self.cpu)?.open()?;
        println!("device: {}", describe(&device));
        Ok(device)
    }
}

/// The value of a flag: clap asks for the text `true` when it was given, and for its default, `false`, otherwise.
fn list_and_leave(text: &str) -> std::result::Result<bool, String> {
    if text == "true" {
        print!("{}", list::text(&list::all()));
        std::process::exit(0)
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Example {
        #[command(flatten)]
        device: DeviceArgs,
    }

    fn parse(options: &[&str]) -> std::result::Result<DeviceArgs, clap::Error> {
        let line = ["example"].iter().chain(options);
        Example::try_parse_from(line).map(|example| example.device)
    }

    #[test]
    fn the_options_are_taken_and_wrong_ones_refused() {
        assert_eq!(parse(&[]).unwrap().device, DeviceSpec::Auto);
        let args = parse(&["--device", "rocm:3"]).unwrap();
        assert_eq!(args.device.to_string(), "rocm:3");
        assert!(parse(&["--cpu"]).unwrap().open().unwrap().is_cpu());
        let error = parse(&["--device", "gpu"]).unwrap_err().to_string();
        assert!(error.contains("`gpu` is no device"), "{error}");
        let both = parse(&["--cpu", "--device", "rocm"]).unwrap();
        let error = both.open().unwrap_err().to_string();
        assert!(error.contains("contradict"), "{error}");
    }
}
