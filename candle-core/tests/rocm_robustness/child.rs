//! This program once more, in another environment.
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that any of them may take. Each needs a few seconds at most; one that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs the ignored test `case` with `variables` set. Returns its standard output and standard error.
pub fn run(case: &str, variables: &[(&str, &str)]) -> (String, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(["--exact", case, "--ignored", "--nocapture"]);
    command.args(["--test-threads", "1"]);
    command.envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("this program can be started again");
    // Read meanwhile, so that a full pipe does not look like a hang.
    let mut pipes = (child.stdout.take(), child.stderr.take());
    fn read(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut pipe = pipe.expect("it is piped");
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (out, err) = (read(pipes.0.take()), read(pipes.1.take()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break Some(status);
        }
        if start.elapsed() > PATIENCE {
            child.kill().expect("it is our child");
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (out, err) = (out.join().expect("no panic"), err.join().expect("no panic"));
    let shown = format!("{case} with {variables:?}:\n{out}\n{err}");
    let status = status.unwrap_or_else(|| panic!("still running after {PATIENCE:?}: {shown}"));
    assert!(status.success(), "{status}: {shown}");
    assert!(out.contains("1 passed"), "no test ran: {shown}");
    (out, err)
}

/// Fails unless the emulator's ledger says that a child has given everything back.
pub fn nothing_is_live(ledger: &str) {
    assert!(ledger.contains(" 0 live allocations"), "{ledger}");
}

pub fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

/// The text of an error that is expected.
pub fn text<T>(outcome: candle_core::Result<T>) -> String {
    match outcome {
        Ok(_) => panic!("this must fail"),
        Err(error) => error.to_string(),
    }
}
