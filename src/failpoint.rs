//! Failpoints: named places at which a test kills the process, or stops it, to see what is left behind there.
//!
//! Builds without debug assertions, which are those that are shipped, have none: [`hit`] is empty in them. Elsewhere it
//! acts only if `ACTORLINE_FAILPOINTS` names a folder. A file `<point>` in it, which may appear at any time, says how
//! many hits to let pass and then which signal to send: `3 KILL`. It is removed before the signal, so that the process
//! that is started next passes. Hits are counted by the length of `<point>.hits`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Says that execution has come to `point`.
///
/// The thread that comes there goes no further if the signal is `KILL`; the others have the few milliseconds that it
/// takes to send one, as they would in any crash.
pub fn hit(point: &str) {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    if cfg!(debug_assertions)
        && let Some(folder) = FOLDER.get_or_init(|| std::env::var_os("ACTORLINE_FAILPOINTS").map(PathBuf::from))
    {
        count(folder, point);
    }
}

/// What goes wrong here is a mistake of the test, which notices that nothing happens.
fn count(folder: &Path, point: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let hits = OpenOptions::new().create(true).append(true).open(folder.join(format!("{point}.hits")));
    let _ = hits.and_then(|mut hits| hits.write_all(b"."));
    let order = folder.join(point);
    let Ok(text) = fs::read_to_string(&order) else { return };
    let Some((Ok(num_to_pass), signal)) = text.split_once(' ').map(|(num, signal)| (num.parse::<u32>(), signal)) else {
        return;
    };
    if num_to_pass > 0 {
        let _ = fs::write(&order, format!("{} {signal}", num_to_pass - 1));
        return;
    }
    let _ = fs::remove_file(&order);
    drop(guard);
    // Not by `abort`, which would run handlers and leave a core: a test of SIGKILL needs SIGKILL.
    let _ = Command::new("kill").arg(format!("-{}", signal.trim())).arg(std::process::id().to_string()).status();
    while signal.trim() == "KILL" {
        std::thread::sleep(Duration::from_secs(1));
    }
}
