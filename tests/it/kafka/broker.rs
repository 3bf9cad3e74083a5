//! Starting and stopping the broker.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::java;

/// A broker that takes longer than this to start on two busy cores will not start.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A single node that is broker and controller.
pub struct Broker {
    address: String,
    num_topics: AtomicU32,
    /// Waits for the end of this process and then kills the broker, which a test binary has no other moment to do.
    _keeper: Child,
    _folder: TempDir,
}

impl Broker {
    pub fn start() -> Broker {
        let class_path = java::class_path();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, controller_port) = free_ports();
        let address = format!("127.0.0.1:{port}");
        let properties = folder.path().join("server.properties");
        fs::write(&properties, server_properties(port, controller_port, folder.path())).expect("properties written");
        format_storage(&class_path, &properties);
        let keeper = spawn(&class_path, &properties, folder.path());
        let broker = Broker { address, num_topics: AtomicU32::new(0), _keeper: keeper, _folder: folder };
        broker.wait_until_ready();
        broker
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where the broker keeps its files.
    pub fn folder(&self) -> std::path::PathBuf {
        self._folder.path().join("logs")
    }

    /// A name that no other test uses.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.num_topics.fetch_add(1, Ordering::Relaxed))
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            let log = fs::read_to_string(self._folder.path().join("broker.log")).unwrap_or_default();
            assert!(begun.elapsed() < START_TIMEOUT, "the broker did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Starts the broker below a shell that reads from a pipe of ours. The pipe closes when this process ends, even if it
/// is killed, and then the shell kills the broker.
fn spawn(class_path: &str, properties: &Path, folder: &Path) -> Child {
    let log = File::create(folder.join("broker.log")).expect("a log file");
    Command::new("sh")
        .arg("-c")
        .arg(r#"java -Xmx768m -XX:TieredStopAtLevel=1 -cp "$0" kafka.Kafka "$1" </dev/null & broker=$!; cat >/dev/null; kill -9 $broker; rm -rf "$2""#)
        .arg(class_path)
        .arg(properties)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("a shell")
}

fn format_storage(class_path: &str, properties: &Path) {
    let mut id = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id)).expect("random bytes");
    // Kafka takes no id that looks like an option.
    id[0] &= 0x3f;
    let output = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp", class_path, "kafka.tools.StorageTool", "format", "--cluster-id"])
        .arg(URL_SAFE_NO_PAD.encode(id))
        .arg("--config")
        .arg(properties)
        .output()
        .expect("java was found just before");
    assert!(output.status.success(), "formatting failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn server_properties(port: u16, controller_port: u16, folder: &Path) -> String {
    let logs = folder.join("logs");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
auto.create.topics.enable=false
# So that a test need not wait where production would rather not hurry.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
log.segment.bytes=10485760
",
        logs.display()
    )
}

fn free_ports() -> (u16, u16) {
    // Both are held until both are known, so that they differ.
    let listeners = [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0")]
        .map(|listener| listener.and_then(|listener| listener.local_addr()).expect("a free port").port());
    (listeners[0], listeners[1])
}
